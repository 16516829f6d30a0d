#include "protocol/method_codec.h"

#include <string>
#include <type_traits>

#include <doctest/doctest.h>

#include "tests/unit/protocol/octets.h"

namespace harrier {

namespace {

// Gives every argument a value of its own, none of them a default.
class Fill {
 public:
  template <class... T>
  void operator()(const char*, T&... fields) {
    (fill(fields), ...);
  }

  template <class... Bits>
  void bits(const char*, Bits&... bits) {
    ((bits = (++count_ % 2) != 0), ...);
  }

  template <class... T>
  void longstr(const char*, T&... fields) {
    (fill(fields), ...);
  }

 private:
  template <class T>
  void fill(T& field) {
    ++count_;
    if constexpr (std::is_same_v<T, std::string_view>) {
      field = std::string_view("abcdefghijklmnopqrstuvwxyz").substr(count_);
    } else if constexpr (std::is_same_v<T, TableView>) {
      field = TableView{ByteView("\1kt\1", 4)};
    } else {
      field = static_cast<T>(0x0102030405060708 * count_);
    }
  }

  std::size_t count_ = 0;
};

// Every argument with its name, defaults too.
class Dump {
 public:
  template <class... T>
  void operator()(const char* names, const T&... fields) {
    text += names;
    (dump(fields), ...);
  }

  template <class... Bits>
  void bits(const char* names, const Bits&... bits) {
    text += names;
    (dump(bits), ...);
  }

  template <class... T>
  void longstr(const char* names, const T&... fields) {
    text += names;
    (dump(fields), ...);
  }

  std::string text;

 private:
  void dump(std::uint64_t number) { text += " " + std::to_string(number); }

  void dump(std::string_view string) { text.append(" ").append(string); }

  void dump(const TableView& table) { text.append(" ").append(table.octets); }
};

template <class M>
std::string dumped(const M& method) {
  Dump dump;
  detail::visit_fields(method, dump);
  return M::kName + dump.text;
}

std::string payload_of(const Buffer& frame) {
  const FrameParse parse = parse_frame(frame.view(), 0);
  REQUIRE(parse.status == FrameStatus::complete);
  REQUIRE(parse.consumed == frame.size());
  REQUIRE(parse.frame.type == FrameType::method);
  return std::string(parse.frame.payload);
}

template <class M>
std::string encoded_payload(const M& method) {
  Buffer out;
  encode_method(1, method, out);
  CHECK(out.size() == method_frame_bytes(method));
  return payload_of(out);
}

// What visiting gives, whichever method it is.
DecodeStatus status_of(ByteView payload) {
  return visit_method(payload, [](const auto&) {});
}

template <class M>
void check_round_trip(const M& method) {
  CAPTURE(M::kName);
  const std::string payload = encoded_payload(method);
  std::string seen;
  const DecodeStatus status = visit_method(payload, [&seen](const auto& decoded) {
    CHECK(std::is_same_v<std::decay_t<decltype(decoded)>, M>);
    seen = dumped(decoded);
  });
  CHECK(status == DecodeStatus::ok);
  CHECK(seen == dumped(method));

  CHECK(status_of(payload + "x") == DecodeStatus::bad_arguments);
  for (std::size_t size = 0; size < payload.size(); ++size) {
    CHECK(status_of(ByteView(payload).substr(0, size)) == DecodeStatus::bad_arguments);
  }
}

template <class M>
void check_method() {
  check_round_trip(M{});
  M filled;
  filled.fields(Fill());
  check_round_trip(filled);
}

template <class... M>
void check_all(MethodList<M...>) {
  (check_method<M>(), ...);
}

}  // namespace

TEST_SUITE("method codec") {
  TEST_CASE("every method comes back as it went, and in no shorter or longer form") {
    check_all(AllMethods());
  }

  TEST_CASE("bits fill an octet from the lowest on") {
    const std::string payload =
        encoded_payload(QueueDeclare{.queue = "q", .durable = true, .no_wait = true});
    CHECK(to_hex(payload) ==
          "0032000a"
          "0000"
          "0171"
          "12"
          "00000000");
  }

  TEST_CASE("unused bits are ignored") {
    bool multiple = true;
    const DecodeStatus status =
        visit_method(from_hex("003c0050 0000000000000001 fe"), [&](const auto& method) {
          if constexpr (std::is_same_v<decltype(method), const BasicAck&>) {
            multiple = method.multiple;
          }
        });
    CHECK(status == DecodeStatus::ok);
    CHECK_FALSE(multiple);
  }

  TEST_CASE("methods that do not exist are told from arguments that do not decode") {
    CHECK(status_of(from_hex("003c00ff")) == DecodeStatus::unknown_method);
    CHECK(status_of(from_hex("ffff000a")) == DecodeStatus::unknown_method);
    CHECK(status_of(from_hex("003c00")) == DecodeStatus::bad_arguments);
  }

  TEST_CASE("the visitor is not called for what does not decode") {
    bool called = false;
    visit_method(from_hex("003c0050 00"), [&](const auto&) { called = true; });
    CHECK_FALSE(called);
  }

  TEST_CASE("UTF-8 is asked of short strings in methods without content") {
    CHECK(status_of(encoded_payload(QueueDeclare{.queue = "\xff"})) == DecodeStatus::bad_utf8);
    CHECK(status_of(encoded_payload(QueueDeclare{.queue = "\xc3\xa9"})) == DecodeStatus::ok);
    CHECK(status_of(encoded_payload(BasicPublish{.routing_key = "\xff"})) == DecodeStatus::ok);
    CHECK(status_of(encoded_payload(ConnectionStartOk{.response = "\xff"})) == DecodeStatus::ok);
  }

  TEST_CASE("tables in arguments are checked at every level") {
    const std::string bad = from_hex("0161 46 00000002 0055");
    const QueueDeclare declare{.queue = "q", .arguments = TableView{bad}};
    CHECK(status_of(encoded_payload(declare)) == DecodeStatus::bad_table);
  }

  TEST_CASE("each failure has its answer") {
    struct Row {
      DecodeStatus status = DecodeStatus::ok;
      const char* payload = "";
      const char* text = "";
      MethodId method{};
    };

    for (const Row& row : {
             Row{DecodeStatus::unknown_method,
                 "003c00ff",
                 "COMMAND_INVALID - unimplemented method",
                 {60, 255}},
             Row{DecodeStatus::bad_arguments,
                 "0032000a 006162",
                 "FRAME_ERROR - cannot decode <<0,97,98>>",
                 {50, 10}},
             Row{DecodeStatus::bad_arguments,
                 "0032000a 6162",
                 "FRAME_ERROR - cannot decode <<97,98>>",
                 {50, 10}},
             Row{DecodeStatus::bad_utf8,
                 "0032000a",
                 "FRAME_ERROR - Malformed UTF-8 in shortstr",
                 {0, 0}},
             Row{DecodeStatus::bad_table,
                 "0032000a",
                 "SYNTAX_ERROR - malformed field table",
                 {50, 10}},
         }) {
      CAPTURE(row.text);
      const ProtocolError error = decode_error(row.status, from_hex(row.payload));
      CHECK(reply_text(error) == row.text);
      CHECK(error.method == row.method);
    }
  }

  TEST_CASE("content is method, header and bodies") {
    Buffer out;
    encode_content(3, BasicDeliver{.consumer_tag = "c", .delivery_tag = 9}, ByteView("\0\0", 2),
                   std::string(5000, 'b'), 4096, out);
    std::string types;
    for (ByteView rest = out.view(); !rest.empty();) {
      const FrameParse parse = parse_frame(rest, 4096);
      REQUIRE(parse.status == FrameStatus::complete);
      CHECK(parse.frame.channel == 3);
      types += std::to_string(static_cast<int>(parse.frame.type));
      rest.remove_prefix(parse.consumed);
    }
    CHECK(types == "1233");
  }
}

TEST_SUITE("method trace") {
  TEST_CASE("arguments that say something are shown") {
    FieldTable arguments;
    arguments.set("x-max-length", Value::int32(1));
    Buffer fields;
    arguments.encode_fields(fields);
    CHECK(trace(QueueDeclare{.queue = "q", .durable = true}) ==
          "queue.declare{queue=\"q\", durable=1}");
    CHECK(trace(QueueDeclare{.arguments = TableView{fields.view()}}) ==
          "queue.declare{arguments={x-max-length=1}}");
    CHECK(trace(BasicAck{.delivery_tag = 7, .multiple = true}) ==
          "basic.ack{delivery_tag=7, multiple=1}");
    CHECK(trace(TxSelectOk{}) == "tx.select-ok{}");
  }

  TEST_CASE("secrets are masked") {
    CHECK(trace(ConnectionStartOk{.mechanism = "PLAIN", .response = "secret"}) ==
          "connection.start-ok{mechanism=\"PLAIN\", response=***}");
    CHECK(trace(ConnectionUpdateSecret{.new_secret = "secret", .reason = "r"}) ==
          "connection.update-secret{new_secret=***, reason=\"r\"}");
  }
}

}  // namespace harrier
