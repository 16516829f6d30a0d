#include <doctest/doctest.h>

#include "protocol/wire_reader.h"
#include "protocol/wire_writer.h"
#include "tests/unit/protocol/octets.h"

namespace harrier {

TEST_SUITE("wire cursors") {
  TEST_CASE("integers are big-endian and strings carry their length") {
    Buffer out;
    WireWriter writer(out, 1 + 2 + 4 + 8 + 3 + 6);
    writer.u8(0x01);
    writer.u16(0x0203);
    writer.u32(0x04050607);
    writer.u64(0x08090a0b0c0d0e0f);
    writer.short_string("hi");
    writer.long_string("ho");
    CHECK(writer.room() == 0);
    CHECK(to_hex(out.view()) == "0102030405060708090a0b0c0d0e0f02686900000002686f");

    WireReader reader(out.view());
    CHECK(reader.u8() == 0x01);
    CHECK(reader.u16() == 0x0203);
    CHECK(reader.u32() == 0x04050607);
    CHECK(reader.u64() == 0x08090a0b0c0d0e0f);
    CHECK(reader.short_string() == "hi");
    CHECK(reader.long_string() == "ho");
    CHECK(reader.ok());
    CHECK(reader.at_end());
  }

  TEST_CASE("a reader that ran out of octets yields zeros from then on") {
    const std::string octets = from_hex("0102 05616263");
    WireReader reader(octets);
    CHECK(reader.u16() == 0x0102);
    CHECK(reader.short_string().empty());
    CHECK_FALSE(reader.ok());
    CHECK(reader.at_end());
    CHECK(reader.u8() == 0);
    CHECK(reader.u64() == 0);
    CHECK(reader.long_string().empty());
    CHECK(reader.rest().empty());
    CHECK_FALSE(reader.ok());
  }

  TEST_CASE("a length beyond any memory is just too long") {
    const std::string octets = from_hex("ffffffff 61");
    WireReader reader(octets);
    CHECK(reader.long_string().empty());
    CHECK_FALSE(reader.ok());
  }

  TEST_CASE("nothing is read from nothing") {
    WireReader reader{ByteView()};
    CHECK(reader.at_end());
    CHECK(reader.octets(0).empty());
    CHECK(reader.ok());
    CHECK(reader.u8() == 0);
    CHECK_FALSE(reader.ok());
  }
}

}  // namespace harrier
