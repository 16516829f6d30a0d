#include "broker/session/output_buffer.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "protocol/frame.h"

using namespace harrier;

namespace {

constexpr std::uint32_t kFrameMax = 131'072;

std::string some_octets(std::size_t size, unsigned salt) {
  std::string octets(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    octets[i] = static_cast<char>((i * 31 + i / 253 + salt) & 0xFF);
  }
  return octets;
}

MessageRef message(std::string_view body) {
  return Message::create(MessageParts{}, body);
}

// What body frames are on the wire.
std::string frames_of(ChannelNumber channel, std::string_view body, std::uint32_t frame_max) {
  Buffer buffer;
  encode_body_frames(channel, body, frame_max, buffer);
  return std::string(buffer.view());
}

std::string gathered(const OutputBuffer& output, std::size_t pieces_max) {
  std::vector<iovec> pieces(pieces_max);
  std::string octets;
  for (std::size_t i = 0, count = output.gather(pieces); i < count; ++i) {
    CHECK(pieces[i].iov_len > 0);
    octets.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
  }
  return octets;
}

unsigned random_seed() {
  const char* wanted = std::getenv("HARRIER_SEED");
  const unsigned seed = wanted == nullptr
                            ? std::random_device()()
                            : static_cast<unsigned>(std::strtoul(wanted, nullptr, 10));
  MESSAGE("HARRIER_SEED=", seed);
  return seed;
}

}  // namespace

TEST_SUITE("OutputBuffer") {
  TEST_CASE("an empty one has nothing to send") {
    OutputBuffer output;
    CHECK(output.empty());
    CHECK(output.size() == 0);
    CHECK(gathered(output, 4).empty());
    output.consume(0);
    output.shrink();
    output.append_body(1, message(""), kFrameMax);
    CHECK(output.empty());
  }

  TEST_CASE("a body is sent in frames of frame-max, copied or borrowed") {
    for (const std::size_t size : {1u, 1000u, 16'383u, 16'384u, 131'064u, 131'065u, 400'000u}) {
      for (const std::uint32_t frame_max : {0u, 4096u, kFrameMax}) {
        CAPTURE(size);
        CAPTURE(frame_max);
        const std::string body = some_octets(size, 1);
        OutputBuffer output;
        output.tail().append("before");
        output.append_body(3, message(body), frame_max);
        output.tail().append("after");
        const std::string expected = "before" + frames_of(3, body, frame_max) + "after";
        CHECK(output.size() == expected.size());
        CHECK(gathered(output, 1000) == expected);
        output.consume(expected.size());
        CHECK(output.empty());
      }
    }
  }

  TEST_CASE("a large body is not copied but shared until it is sent") {
    const MessageRef shared = message(some_octets(200'000, 2));
    OutputBuffer output;
    output.append_body(1, shared, 0);
    iovec pieces[3];
    REQUIRE(output.gather(pieces) == 3);  // frame header, body, frame end
    CHECK(pieces[1].iov_base == shared->body().data());
    CHECK(pieces[1].iov_len == 200'000);
    CHECK(output.tail().size() < 100);
  }

  TEST_CASE("as many pieces are gathered as fit, the same until they are consumed") {
    OutputBuffer output;
    const std::string body = some_octets(50'000, 3);
    output.append_body(1, message(body), 20'008);
    const std::string expected = frames_of(1, body, 20'008);
    CHECK(gathered(output, 0).empty());
    CHECK(gathered(output, 1) == expected.substr(0, kFrameHeaderBytes));
    CHECK(gathered(output, 2) == expected.substr(0, kFrameHeaderBytes + 20'000));
    CHECK(gathered(output, 2) == expected.substr(0, kFrameHeaderBytes + 20'000));
    CHECK(gathered(output, 100) == expected);
  }

  TEST_CASE("consuming stops at any octet") {
    const std::string body = some_octets(20'000, 4);
    const std::string expected = "head" + frames_of(1, body, kFrameMax) + "tail";
    for (const std::size_t first :
         {0ul, 1ul, 4ul, 5ul, 10ul, 11ul, 12ul, 20'010ul, 20'011ul, 20'012ul, 20'014ul}) {
      CAPTURE(first);
      OutputBuffer output;
      output.tail().append("head");
      output.append_body(1, message(body), kFrameMax);
      output.tail().append("tail");
      output.consume(first);
      CHECK(output.size() == expected.size() - first);
      CHECK(gathered(output, 10) == expected.substr(first));
      // What is added after a partial send comes behind it.
      output.append_body(1, message(body), kFrameMax);
      CHECK(gathered(output, 10) == expected.substr(first) + frames_of(1, body, kFrameMax));
    }
  }

  TEST_CASE("sent octets give their memory back while there is always more to send") {
    OutputBuffer output;
    const std::string frame = some_octets(1000, 5);
    for (int i = 0; i < 100; ++i)
      output.tail().append(frame);
    for (int i = 0; i < 5000; ++i) {
      output.tail().append(frame);
      output.consume(frame.size());
      REQUIRE(output.size() == 100 * frame.size());
      REQUIRE(output.tail().size() <= 400'000);
    }
    CHECK(gathered(output, 4).substr(0, 1000) == frame);
  }

  TEST_CASE("a large burst leaves no large memory behind, shrink leaves none at all") {
    OutputBuffer output;
    output.tail().append(some_octets(1'000'000, 6));
    output.consume(1'000'000);
    CHECK(output.tail().capacity() <= 64 * 1024);
    output.tail().append("small");
    output.shrink();  // not while there is something to send
    CHECK(gathered(output, 1) == "small");
    output.consume(5);
    output.shrink();
    CHECK(output.tail().capacity() == 0);
    output.append_body(1, message(some_octets(30'000, 7)), kFrameMax);
    CHECK(gathered(output, 3) == frames_of(1, some_octets(30'000, 7), kFrameMax));
  }

  TEST_CASE("random frames sent in random pieces are their concatenation") {
    const unsigned seed = random_seed();
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto below = [&random](std::size_t limit) {
      return static_cast<std::size_t>(random()) % limit;
    };
    for (int round = 0; round < 20; ++round) {
      OutputBuffer output;
      std::string expected;
      std::string sent;
      for (int step = 0; step < 400; ++step) {
        const std::size_t dice = below(10);
        if (dice < 3) {
          const std::string frame = some_octets(below(3000), static_cast<unsigned>(random()));
          output.tail().append(frame);
          expected += frame;
        } else if (dice < 5) {
          const std::string body =
              some_octets(below(dice == 3 ? 2000 : 60'000), static_cast<unsigned>(random()));
          const std::uint32_t frame_max = std::array{0u, 4096u, 20'000u, kFrameMax}[below(4)];
          output.append_body(2, message(body), frame_max);
          expected += frames_of(2, body, frame_max);
        } else if (dice == 5) {
          output.shrink();
        } else {
          // A peer that takes odd numbers of octets of an odd number of pieces.
          std::array<iovec, 8> pieces;
          const std::size_t count =
              output.gather(std::span(pieces).first(1 + below(pieces.size())));
          std::size_t limit = below(round % 2 == 0 ? 100'000 : 5000);
          std::size_t octets = 0;
          for (std::size_t i = 0; i < count && limit > 0; ++i) {
            const std::size_t taken = std::min(limit, pieces[i].iov_len);
            sent.append(static_cast<const char*>(pieces[i].iov_base), taken);
            octets += taken;
            limit -= taken;
          }
          output.consume(octets);
        }
        REQUIRE(output.size() == expected.size() - sent.size());
        REQUIRE(output.empty() == (expected.size() == sent.size()));
      }
      sent += gathered(output, 5000);
      REQUIRE((sent == expected));
      output.consume(output.size());
      REQUIRE(output.empty());
    }
  }
}
