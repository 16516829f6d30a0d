// Time per operation of what the data path does to every message: decoding basic.publish with its
// content, encoding basic.deliver with its content. Prints nanoseconds; the best of several rounds,
// since the machine has other things to do.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <type_traits>

#include "base/assert.h"
#include "protocol/content_assembler.h"
#include "protocol/method_codec.h"

namespace harrier {

namespace {

constexpr int kRounds = 7;
constexpr int kOperations = 400'000;
constexpr std::uint32_t kFrameMax = 131072;

// Keeps the optimiser from dropping work whose result nobody looks at.
template <class T>
void keep(const T& value) {
  asm volatile("" : : "r"(&value) : "memory");
}

void measure(const char* name, const std::function<void()>& run_all) {
  double best_ns = 1e18;
  for (int round = 0; round < kRounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    run_all();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    best_ns = std::min(best_ns, took.count() / kOperations);
  }
  std::printf("%-48s %8.1f ns\n", name, best_ns);
}

std::string properties_octets(bool with_table) {
  BasicProperties properties;
  properties.content_type = "application/json";
  properties.delivery_mode = std::uint8_t{2};
  if (with_table) {
    properties.headers.emplace();
    properties.headers->set("trace-id", Value::long_string("0123456789abcdef"));
    properties.headers->set("attempt", Value::int32(3));
    properties.headers->set("sampled", Value::boolean(true));
  }
  Buffer out;
  properties.encode(out);
  return std::string(out.view());
}

void measure_encoding() {
  const std::string properties = properties_octets(false);
  const std::string body(64, 'b');
  Buffer out(1 << 20);
  const auto repeat = [&](auto&& encode) {
    return [&out, encode] {
      for (int i = 0; i < kOperations; ++i) {
        if (out.size() > (1 << 19)) out.clear();
        encode(i);
        keep(out);
      }
    };
  };
  measure("encode basic.ack", repeat([&](int i) {
            encode_method(1, BasicAck{.delivery_tag = static_cast<std::uint64_t>(i)}, out);
          }));
  const BasicDeliver deliver{.consumer_tag = "amq.ctag-0123456789abcdefghijkl",
                             .exchange = "amq.topic",
                             .routing_key = "orders.created.eu"};
  measure("encode basic.deliver", repeat([&](int i) {
            BasicDeliver method = deliver;
            method.delivery_tag = static_cast<std::uint64_t>(i);
            encode_method(1, method, out);
          }));
  measure("encode basic.deliver, header, body of 64", repeat([&](int i) {
            BasicDeliver method = deliver;
            method.delivery_tag = static_cast<std::uint64_t>(i);
            encode_content(1, method, properties, body, kFrameMax, out);
          }));
}

// What a connection does with each frame, less the broker behind it.
void measure_decoding() {
  Buffer ack;
  encode_method(1, BasicAck{.delivery_tag = 7}, ack);
  Buffer publish;
  encode_method(1, BasicPublish{.exchange = "amq.topic", .routing_key = "orders.created.eu"},
                publish);
  const auto decode = [](const Buffer& frame) {
    return [&frame] {
      std::uint64_t seen = 0;
      for (int i = 0; i < kOperations; ++i) {
        keep(frame);
        const FrameParse parse = parse_frame(frame.view(), kFrameMax);
        const DecodeStatus status = visit_method(parse.frame.payload, [&](const auto& method) {
          using Method = std::decay_t<decltype(method)>;
          if constexpr (std::is_same_v<Method, BasicAck>) seen += method.delivery_tag;
          if constexpr (std::is_same_v<Method, BasicPublish>) seen += method.routing_key.size();
          if constexpr (std::is_same_v<Method, QueueDeclare>) seen += method.queue.size();
        });
        HARRIER_CHECK(status == DecodeStatus::ok);
      }
      keep(seen);
    };
  };
  measure("parse and decode basic.ack", decode(ack));
  measure("parse and decode basic.publish", decode(publish));

  for (const bool with_table : {false, true}) {
    const std::string octets = properties_octets(with_table);
    measure(with_table ? "parse properties with three headers" : "parse properties", [&octets] {
      for (int i = 0; i < kOperations; ++i) {
        keep(octets);
        const auto properties = parse_properties(octets);
        HARRIER_CHECK(properties.has_value());
        keep(properties);
      }
    });
  }
}

void measure_assembly() {
  for (const std::size_t body_bytes : {std::size_t{64}, std::size_t{4096}}) {
    Buffer input;
    encode_content(1, BasicPublish{.exchange = "amq.topic", .routing_key = "orders.created.eu"},
                   properties_octets(false), std::string(body_bytes, 'b'), kFrameMax, input);
    const std::string name = "publish to message, body of " + std::to_string(body_bytes);
    measure(name.c_str(), [&input] {
      ContentAssembler assembler;
      for (int i = 0; i < kOperations; ++i) {
        for (ByteView rest = input.view(); !rest.empty();) {
          const FrameParse parse = parse_frame(rest, kFrameMax);
          rest.remove_prefix(parse.consumed);
          switch (parse.frame.type) {
            case FrameType::method:
              visit_method(parse.frame.payload, [&](const auto& method) {
                if constexpr (std::is_same_v<decltype(method), const BasicPublish&>) {
                  assembler.begin(method);
                }
              });
              break;
            case FrameType::header:
              keep(assembler.on_header(parse.frame.payload, UINT64_MAX));
              break;
            default:
              keep(assembler.on_body(parse.frame.payload));
              break;
          }
        }
        const MessageRef message = std::move(assembler.content().message);
        HARRIER_CHECK(static_cast<bool>(message));
      }
    });
  }
}

}  // namespace

}  // namespace harrier

int main() {
  harrier::measure_encoding();
  harrier::measure_decoding();
  harrier::measure_assembly();
  return 0;
}
