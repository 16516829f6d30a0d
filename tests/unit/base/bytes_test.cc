#include "base/bytes.h"

#include <string>
#include <utility>

#include <doctest/doctest.h>

using namespace harrier;

TEST_SUITE("Buffer") {
  TEST_CASE("octets appended are read back in order, NUL among them") {
    Buffer buffer;
    CHECK(buffer.empty());
    CHECK(buffer.view().empty());
    buffer.append("ab");
    buffer.append("");
    buffer.append(ByteView("\0c", 2));
    CHECK(buffer.size() == 4);
    CHECK(buffer.view() == ByteView("ab\0c", 4));
  }

  TEST_CASE("growth keeps what is there") {
    Buffer buffer;
    std::string expected;
    for (int i = 0; i < 5000; ++i) {
      const char octet = static_cast<char>(i % 251);
      *buffer.extend(1) = octet;
      expected += octet;
    }
    CHECK(buffer.view() == expected);
    CHECK(buffer.capacity() >= buffer.size());
  }

  TEST_CASE("one growth is enough for one large extension") {
    Buffer buffer;
    buffer.append("x");
    char* at = buffer.extend(1'000'000);
    CHECK(at == buffer.data() + 1);
    CHECK(buffer.size() == 1'000'001);
    CHECK(buffer.view().front() == 'x');
  }

  TEST_CASE("reserved room is used without moving") {
    Buffer buffer(1000);
    CHECK(buffer.empty());
    CHECK(buffer.capacity() >= 1000);
    buffer.append("first");
    const char* place = buffer.data();
    buffer.append(std::string(900, 'x'));
    CHECK(buffer.data() == place);
    const std::size_t capacity = buffer.capacity();
    buffer.reserve(1);
    CHECK(buffer.capacity() == capacity);
  }

  TEST_CASE("clear keeps the memory, reset gives it back") {
    Buffer buffer;
    buffer.append("something");
    const std::size_t capacity = buffer.capacity();
    buffer.clear();
    CHECK(buffer.empty());
    CHECK(buffer.capacity() == capacity);
    buffer.reset();
    CHECK(buffer.capacity() == 0);
    buffer.append("again");
    CHECK(buffer.view() == "again");
  }

  TEST_CASE("consume takes from the front, truncate from the end") {
    Buffer buffer;
    buffer.append("0123456789");
    buffer.consume(3);
    CHECK(buffer.view() == "3456789");
    buffer.consume(0);
    buffer.truncate(4);
    CHECK(buffer.view() == "3456");
    buffer.append("!");
    CHECK(buffer.view() == "3456!");
    buffer.consume(5);
    CHECK(buffer.empty());
  }

  TEST_CASE("a move leaves an empty buffer that can be used again") {
    Buffer from;
    from.append("moved");
    Buffer to(std::move(from));
    CHECK(to.view() == "moved");
    CHECK(from.empty());  // NOLINT(bugprone-use-after-move): the contract under test
    CHECK(from.capacity() == 0);
    from.append("new");
    to = std::move(from);
    CHECK(to.view() == "new");
    CHECK(from.empty());  // NOLINT(bugprone-use-after-move)
  }
}
