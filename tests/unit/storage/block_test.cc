#include "storage/block.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "store_support.h"

namespace harrier {

namespace {

using test::text_message;

Timestamp at_ms(std::int64_t ms) {
  return Timestamp(Milliseconds(ms));
}

struct Item {
  Sequence seq;
  MessageRef message;
  Timestamp enqueued_at = at_ms(1'700'000'000'000);
  Timestamp expires_at = kNoTime;
};

constexpr LaneId kLane{9};

std::pair<BlockKey, std::string> build(const std::vector<Item>& items) {
  BlockBuilder builder(77);
  for (const Item& item : items) {
    builder.add(item.seq, *item.message, item.enqueued_at, item.expires_at);
  }
  const BlockKey key{3, kLane, builder.last_seq()};
  return {key, std::string(builder.finish(key))};
}

void check_same(const Item& item, const BlockEntry& entry) {
  CHECK(entry.seq == item.seq);
  CHECK(entry.enqueued_at == item.enqueued_at);
  CHECK(entry.expires_at == item.expires_at);
  CHECK(entry.body == item.message->body());
  CHECK(entry.parts.exchange == item.message->exchange());
  CHECK(entry.parts.routing_key == item.message->routing_key());
  CHECK(entry.parts.properties == item.message->properties());
  CHECK(entry.parts.persistent == item.message->persistent());
  CHECK(entry.parts.priority == item.message->priority());
  CHECK(entry.parts.ttl_ms == item.message->ttl_ms());
}

void check_round_trip(const std::vector<Item>& items) {
  const auto [key, octets] = build(items);
  BlockReader reader(key, octets);
  REQUIRE(reader.ok());
  for (const Item& item : items) {
    const auto entry = reader.next();
    REQUIRE(entry.has_value());
    check_same(item, *entry);
  }
  CHECK_FALSE(reader.next().has_value());
  CHECK(reader.ok());
}

}  // namespace

TEST_SUITE("block") {
  TEST_CASE("messages come back as they were") {
    const auto plain = text_message("body");
    const auto odd = Message::create({.exchange = "",
                                      .routing_key = std::string(255, 'k'),
                                      .properties = "p",
                                      .persistent = false,
                                      .priority = 9,
                                      .ttl_ms = 0},
                                     "");
    SUBCASE("one") {
      check_round_trip({{1, plain}});
    }
    SUBCASE("neighbours with the same route and properties") {
      check_round_trip({{5, plain}, {6, text_message("x")}, {7, text_message("")}});
    }
    SUBCASE("all parts differ, gaps in the sequence") {
      check_round_trip({{5, plain}, {6, odd}, {1000, plain}, {1ULL << 40, odd}});
    }
    SUBCASE("times go back and forth") {
      check_round_trip({{1, plain, at_ms(5000), at_ms(6000)},
                        {2, plain, at_ms(4000), at_ms(3000)},
                        {3, plain, at_ms(9000), kNoTime},
                        {4, plain, at_ms(-5), at_ms(1)}});
    }
    SUBCASE("a long expiration") {
      MessageParts patient_parts;
      patient_parts.ttl_ms = 1LL << 40;
      const auto patient = Message::create(patient_parts, "b");
      check_round_trip({{1, patient}});
    }
  }

  TEST_CASE("the header tells the extent without the entries") {
    const auto [key, octets] = build({{12, text_message("a")}, {20, text_message("b")}});
    const auto header = read_block_header(octets);
    REQUIRE(header.has_value());
    CHECK(header->entries == 2);
    CHECK(header->first_seq == 12);
    CHECK(header->run == 77);
    CHECK(key.last_seq == 20);
  }

  TEST_CASE("a block ends before 64 KiB, but takes one message of any size") {
    const auto kilobyte = text_message(std::string(1024, 'x'));
    const auto huge = text_message(std::string(300'000, 'x'));
    BlockBuilder builder(1);
    Sequence seq = 0;
    while (builder.has_room_for(*kilobyte))
      builder.add(++seq, *kilobyte, kNoTime, kNoTime);
    CHECK(builder.entries() >= 55);
    CHECK_FALSE(builder.has_room_for(*huge));
    CHECK(builder.finish({1, kLane, seq}).size() <= kBlockBytesMax);

    CHECK(builder.empty());
    CHECK(builder.has_room_for(*huge));
    builder.add(++seq, *huge, kNoTime, kNoTime);
    CHECK_FALSE(builder.has_room_for(*kilobyte));
    CHECK(builder.finish({1, kLane, seq}).size() > 300'000);
  }

  TEST_CASE("a body that lies apart leaves its id and size behind, and room for others") {
    const auto huge = text_message(std::string(300'000, 'x'));
    const auto small = text_message("small");
    BlockBuilder builder(1);
    builder.add(1, *small, at_ms(5), kNoTime);
    CHECK_FALSE(builder.has_room_for(*huge));
    CHECK(builder.has_room_for(*huge, BodyPlace{.id = 7}));
    builder.add(2, *huge, at_ms(5), at_ms(9), BodyPlace{.id = 7});
    builder.add(3, *small, at_ms(5), kNoTime);
    const BlockKey key{1, kLane, 3};
    BlockReader reader(key, builder.finish(key));
    CHECK(reader.next()->body_place.id == kInBlock);
    const auto entry = reader.next();
    REQUIRE(entry.has_value());
    CHECK(entry->body_place.id == 7);
    CHECK(entry->body_bytes == 300'000);
    CHECK(entry->body.empty());
    CHECK(entry->expires_at == at_ms(9));
    CHECK(reader.next()->body == "small");
    CHECK_FALSE(reader.next().has_value());
    CHECK(reader.ok());
  }

  TEST_CASE("a builder used again leaves no trace of the block before") {
    BlockBuilder builder(1);
    builder.add(1, *text_message("first"), at_ms(9), at_ms(10));
    builder.finish({1, kLane, 1});
    const auto second = text_message("second");
    builder.add(8, *second, at_ms(5), kNoTime);
    const BlockKey key{1, kLane, 8};
    BlockReader reader(key, builder.finish(key));
    const auto entry = reader.next();
    REQUIRE(entry.has_value());
    check_same({8, second, at_ms(5), kNoTime}, *entry);
  }

  TEST_CASE("every flipped bit and every cut is noticed") {
    const auto [key, octets] = build({{5, text_message("hello")}, {7, text_message("world")}});
    for (std::size_t bit = 0; bit < octets.size() * 8; ++bit) {
      std::string bad = octets;
      bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
      CAPTURE(bit);
      CHECK_FALSE(BlockReader(key, bad).ok());
    }
    for (std::size_t size = 0; size < octets.size(); ++size) {
      CHECK_FALSE(BlockReader(key, ByteView(octets).substr(0, size)).ok());
    }
  }

  TEST_CASE("a block under the key of another one is noticed") {
    const auto [key, octets] = build({{5, text_message("hello")}});
    CHECK(BlockReader(key, octets).ok());
    CHECK_FALSE(BlockReader({key.epoch + 1, key.lane, key.last_seq}, octets).ok());
    CHECK_FALSE(BlockReader({key.epoch, LaneId{1}, key.last_seq}, octets).ok());
    CHECK_FALSE(BlockReader({key.epoch, key.lane, key.last_seq + 1}, octets).ok());
  }
}

}  // namespace harrier
