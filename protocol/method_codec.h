#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/bytes.h"
#include "protocol/byte_order.h"
#include "protocol/constants.h"
#include "protocol/frame.h"
#include "protocol/methods.h"
#include "protocol/reply_code.h"
#include "protocol/utf8.h"
#include "protocol/wire_reader.h"
#include "protocol/wire_writer.h"

// METHOD frames: octets to the structs of methods.h and back. Everything here is derived from their
// fields() lists.

namespace harrier {

// Class-id and method-id, which open every METHOD payload.
inline constexpr std::size_t kMethodIdBytes = 4;

enum class DecodeStatus : std::uint8_t {
  ok,
  unknown_method,
  bad_arguments,  // too few octets, or octets left over
  bad_utf8,       // in a short string of a method without content; RabbitMQ checks no others
  bad_table,
};

// `payload` has at least four octets, which parse_frame() saw to.
inline MethodId peek_method_id(ByteView payload) {
  return {load_big_endian<std::uint16_t>(payload.data()),
          load_big_endian<std::uint16_t>(payload.data() + 2)};
}

// The connection error that answers a status other than ok. `payload` is the METHOD frame's.
ProtocolError decode_error(DecodeStatus status, ByteView payload);

namespace detail {

// fields() is not const because the reader fills the members in; every other visitor only reads.
template <class M, class V>
void visit_fields(const M& method, V&& visitor) {
  const_cast<M&>(method).fields(visitor);
}

enum class Utf8 : bool {
  unchecked,
  checked,
};

template <Utf8 utf8>
class MethodReader {
 public:
  explicit MethodReader(ByteView arguments) : reader_(arguments) {}

  template <class... T>
  void operator()(const char*, T&... fields) {
    (read(fields), ...);
  }

  template <class... Bits>
  void bits(const char*, Bits&... bits) {
    static_assert(sizeof...(bits) <= 8);
    std::uint8_t octet = reader_.u8();
    ((bits = (octet & 1) != 0, octet = static_cast<std::uint8_t>(octet >> 1)), ...);
  }

  template <class... T>
  void longstr(const char*, T&... fields) {
    ((fields = reader_.long_string()), ...);
  }

  DecodeStatus finish() const {
    if (!reader_.ok() || !reader_.at_end()) return DecodeStatus::bad_arguments;
    return status_;
  }

 private:
  void read(std::uint8_t& field) { field = reader_.u8(); }

  void read(std::uint16_t& field) { field = reader_.u16(); }

  void read(std::uint32_t& field) { field = reader_.u32(); }

  void read(std::uint64_t& field) { field = reader_.u64(); }

  void read(std::string_view& field) {
    field = reader_.short_string();
    if constexpr (utf8 == Utf8::checked) {
      if (!is_valid_utf8(field)) status_ = DecodeStatus::bad_utf8;
    }
  }

  void read(TableView& field) {
    field = TableView{reader_.long_string()};
    if (!field.well_formed()) status_ = DecodeStatus::bad_table;
  }

  WireReader reader_;
  DecodeStatus status_ = DecodeStatus::ok;
};

class MethodSize {
 public:
  template <class... T>
  void operator()(const char*, const T&... fields) {
    (add(fields), ...);
  }

  template <class... Bits>
  void bits(const char*, const Bits&...) {
    octets += 1;
  }

  template <class... T>
  void longstr(const char*, const T&... fields) {
    ((octets += 4 + fields.size()), ...);
  }

  std::size_t octets = kMethodIdBytes;

 private:
  template <class T>
  void add(const T& field) {
    if constexpr (std::is_same_v<T, std::string_view>) {
      octets += 1 + field.size();
    } else if constexpr (std::is_same_v<T, TableView>) {
      octets += 4 + field.octets.size();
    } else {
      octets += sizeof(T);
    }
  }
};

class MethodWriter {
 public:
  explicit MethodWriter(WireWriter& writer) : writer_(writer) {}

  template <class... T>
  void operator()(const char*, const T&... fields) {
    (write(fields), ...);
  }

  template <class... Bits>
  void bits(const char*, const Bits&... bits) {
    unsigned octet = 0;
    unsigned place = 0;
    ((octet |= static_cast<unsigned>(bits) << place++), ...);
    writer_.u8(static_cast<std::uint8_t>(octet));
  }

  template <class... T>
  void longstr(const char*, const T&... fields) {
    (writer_.long_string(fields), ...);
  }

 private:
  void write(std::uint8_t field) { writer_.u8(field); }

  void write(std::uint16_t field) { writer_.u16(field); }

  void write(std::uint32_t field) { writer_.u32(field); }

  void write(std::uint64_t field) { writer_.u64(field); }

  void write(std::string_view field) { writer_.short_string(field); }

  void write(const TableView& field) { writer_.long_string(field.octets); }

  WireWriter& writer_;
};

// Text of the arguments that are not zero, false or empty.
class MethodTrace {
 public:
  explicit MethodTrace(const char* method_name) : text_(method_name) { text_ += '{'; }

  template <class... T>
  void operator()(std::string_view names, const T&... fields) {
    (print(next_name(names), fields), ...);
  }

  template <class... Bits>
  void bits(std::string_view names, const Bits&... bits) {
    (print(next_name(names), std::uint64_t{bits}), ...);
  }

  template <class... T>
  void longstr(std::string_view names, const T&... fields) {
    (print(next_name(names), fields), ...);
  }

  std::string finish() && {
    text_ += '}';
    return std::move(text_);
  }

 private:
  // Takes the first of "a, b, c", which is how the macros of methods.h spell the arguments.
  static std::string_view next_name(std::string_view& names);

  void print(std::string_view name, std::uint64_t number);
  void print(std::string_view name, std::string_view text);
  void print(std::string_view name, const TableView& table);
  void print_name(std::string_view name);

  std::string text_;
};

template <class M, class Visitor>
DecodeStatus visit_as(ByteView arguments, Visitor& visitor) {
  M method;
  MethodReader<M::kHasContent ? Utf8::unchecked : Utf8::checked> reader(arguments);
  method.fields(reader);
  const DecodeStatus status = reader.finish();
  if (status == DecodeStatus::ok) visitor(static_cast<const M&>(method));
  return status;
}

constexpr std::uint32_t key_of(MethodId id) {
  return std::uint32_t{id.class_id} << 16 | id.method_id;
}

template <class Visitor, class... M>
DecodeStatus visit_any(MethodList<M...>, ByteView payload, Visitor& visitor) {
  const std::uint32_t key = load_big_endian<std::uint32_t>(payload.data());
  const ByteView arguments = payload.substr(kMethodIdBytes);
  DecodeStatus status = DecodeStatus::unknown_method;
  const auto try_one = [&]<class One>(MethodList<One>) {
    if (key != key_of(One::kId)) return false;
    status = visit_as<One>(arguments, visitor);
    return true;
  };
  static_cast<void>((try_one(MethodList<M>()) || ...));
  return status;
}

}  // namespace detail

// Decodes a METHOD frame's payload and calls visitor(const QueueDeclare&) or whichever method it
// is. The visitor is called only if the status is ok, and the method is valid only during the call.
// Does not allocate.
template <class Visitor>
DecodeStatus visit_method(ByteView payload, Visitor&& visitor) {
  if (payload.size() < kMethodIdBytes) return DecodeStatus::bad_arguments;
  return detail::visit_any(AllMethods(), payload, visitor);
}

// Octets of the METHOD frame that encode_method appends.
template <class M>
std::size_t method_frame_bytes(const M& method) {
  detail::MethodSize size;
  detail::visit_fields(method, size);
  return kFrameOverhead + size.octets;
}

// Appends a complete METHOD frame. Short strings must have at most 255 octets.
template <class M>
void encode_method(ChannelNumber channel, const M& method, Buffer& out) {
  const std::size_t frame_bytes = method_frame_bytes(method);
  WireWriter writer(out, frame_bytes);
  write_frame_header(writer, FrameType::method, channel, frame_bytes - kFrameOverhead);
  writer.u16(M::kId.class_id);
  writer.u16(M::kId.method_id);
  detail::visit_fields(method, detail::MethodWriter(writer));
  writer.u8(kFrameEnd);
  HARRIER_DCHECK(writer.room() == 0);
}

// Appends a content method with its header and body frames, growing `out` at most once.
template <class M>
void encode_content(ChannelNumber channel, const M& method, ByteView properties, ByteView body,
                    std::uint32_t frame_max, Buffer& out) {
  static_assert(M::kHasContent);
  out.reserve(out.size() + method_frame_bytes(method) + kFrameOverhead + kContentHeaderBytes +
              properties.size() + body_frames_bytes(body.size(), frame_max));
  encode_method(channel, method, out);
  encode_header_frame(channel, body.size(), properties, out);
  encode_body_frames(channel, body, frame_max, out);
}

// One line for a log: queue.declare{queue="q", durable=1}. Arguments that are zero, false or empty
// are left out, secrets are masked.
template <class M>
std::string trace(const M& method) {
  detail::MethodTrace text(M::kName);
  detail::visit_fields(method, text);
  return std::move(text).finish();
}

}  // namespace harrier
