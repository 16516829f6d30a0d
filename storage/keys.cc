#include "storage/keys.h"

#include <fmt/core.h>

#include "storage/octets.h"

namespace harrier {

namespace {

void put_big(char* at, std::uint16_t value) {
  const std::uint16_t swapped = __builtin_bswap16(value);
  std::memcpy(at, &swapped, sizeof(swapped));
}

void put_big(char* at, std::uint32_t value) {
  const std::uint32_t swapped = __builtin_bswap32(value);
  std::memcpy(at, &swapped, sizeof(swapped));
}

void put_big(char* at, std::uint64_t value) {
  const std::uint64_t swapped = __builtin_bswap64(value);
  std::memcpy(at, &swapped, sizeof(swapped));
}

std::uint32_t get_big32(const char* at) {
  std::uint32_t value = 0;
  std::memcpy(&value, at, sizeof(value));
  return __builtin_bswap32(value);
}

std::uint64_t get_big64(const char* at) {
  std::uint64_t value = 0;
  std::memcpy(&value, at, sizeof(value));
  return __builtin_bswap64(value);
}

}  // namespace

KeyOctets<16> encode(const BlockKey& key) {
  KeyOctets<16> out{};
  put_big(out.octets.data(), key.epoch);
  put_big(out.octets.data() + 4, key.lane.value);
  put_big(out.octets.data() + 8, key.last_seq);
  return out;
}

KeyOctets<12> encode(const AckKey& key) {
  KeyOctets<12> out{};
  put_big(out.octets.data(), key.epoch);
  put_big(out.octets.data() + 4, key.commit);
  return out;
}

KeyOctets<14> encode(const BodyKey& key) {
  KeyOctets<14> out{};
  put_big(out.octets.data(), key.epoch);
  put_big(out.octets.data() + 4, key.body);
  put_big(out.octets.data() + 12, key.chunk);
  return out;
}

KeyOctets<4> encode(LaneId lane) {
  return encode_epoch(lane.value);
}

KeyOctets<4> encode_epoch(Epoch epoch) {
  KeyOctets<4> out{};
  put_big(out.octets.data(), epoch);
  return out;
}

std::string to_hex(ByteView octets) {
  std::string hex;
  for (const char octet : octets)
    hex += fmt::format("{:02x}", static_cast<unsigned char>(octet));
  return hex;
}

std::string block_place(ByteView key) {
  const std::optional<BlockKey> block = decode_block_key(key);
  if (!block) return "another place (key " + to_hex(key) + ")";
  return "epoch " + std::to_string(block->epoch) + " lane " + std::to_string(block->lane.value) +
         " sequence " + std::to_string(block->last_seq);
}

std::optional<BlockKey> decode_block_key(ByteView octets) {
  if (octets.size() != 16) return std::nullopt;
  return BlockKey{get_big32(octets.data()), LaneId{get_big32(octets.data() + 4)},
                  get_big64(octets.data() + 8)};
}

std::optional<AckKey> decode_ack_key(ByteView octets) {
  if (octets.size() != 12) return std::nullopt;
  return AckKey{get_big32(octets.data()), get_big64(octets.data() + 4)};
}

std::optional<LaneId> decode_lane_key(ByteView octets) {
  if (octets.size() != 4) return std::nullopt;
  return LaneId{get_big32(octets.data())};
}

std::optional<Epoch> decode_leading_epoch(ByteView octets) {
  if (octets.size() < 4) return std::nullopt;
  return get_big32(octets.data());
}

std::string definition_key(std::string_view key) {
  std::string out(kDefinitionPrefix);
  out += key;
  return out;
}

std::string encode_note(std::uint64_t value) {
  std::string out(sizeof(value), '\0');
  put_fixed(out.data(), value);
  return out;
}

std::optional<std::uint64_t> decode_note(ByteView octets) {
  if (octets.size() != sizeof(std::uint64_t)) return std::nullopt;
  return OctetReader(octets).fixed<std::uint64_t>();
}

}  // namespace harrier
