#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/message.h"
#include "base/result.h"
#include "protocol/methods.h"
#include "protocol/properties.h"
#include "protocol/reply_code.h"

namespace harrier {

// A published message as it came off the wire. Views of `exchange` and `routing_key` are valid
// until the assembler's next begin(); those of the properties as long as `message` is held by
// anybody.
struct AssembledContent {
  std::string_view exchange;
  std::string_view routing_key;
  bool mandatory = false;
  bool immediate = false;

  // Declared body-size above the limit given to on_header(): the body was thrown away, there is no
  // message and no properties. RabbitMQ answers PRECONDITION_FAILED.
  bool oversize = false;
  std::uint64_t body_bytes = 0;

  ByteView properties;  // flags and fields as received
  std::optional<PropertiesView>
      properties_view;  // nothing if undecodable: INTERNAL_ERROR, no message
  MessageRef message;   // to be moved out by the caller
};

// Puts basic.publish, its content header and its body frames together, one per channel. Memory
// grows with what was received, not with what was declared; a message of up to kEagerBodyBytes
// takes one allocation. Each error ends the connection. AMQP 0-9-1 §4.2.6.
class ContentAssembler {
 public:
  // What a declared body may take before any of it arrived. From there memory doubles.
  static constexpr std::size_t kEagerBodyBytes = std::size_t{1} << 20;

  ContentAssembler() = default;
  ContentAssembler(const ContentAssembler&) = delete;
  ContentAssembler& operator=(const ContentAssembler&) = delete;

  // Whether content is under way, so that the next frame of the channel must not be a METHOD.
  bool active() const { return awaiting_ != Awaiting::method; }

  // Starts a content. Call only while !active().
  void begin(const BasicPublish& publish);

  // A HEADER or BODY frame of the channel. True when the content is complete, which an empty body
  // is with its header. A body above `max_message_bytes` is read and thrown away; 0 throws all
  // away, which suits a channel that is being closed.
  Result<bool, ProtocolError> on_header(ByteView payload, std::uint64_t max_message_bytes);
  Result<bool, ProtocolError> on_body(ByteView payload);

  // What to answer to a frame of a type that cannot come now, such as a METHOD while active().
  ProtocolError unexpected() const;

  // The content that was completed last. Valid until begin().
  AssembledContent& content() { return content_; }

 private:
  enum class Awaiting : std::uint8_t {
    method,
    header,
    body,
  };

  void create_message(ByteView properties);
  void store(ByteView payload);
  void grow(std::size_t at_least);
  bool finish_if_complete();

  Awaiting awaiting_ = Awaiting::method;
  std::string exchange_;
  std::string routing_key_;
  AssembledContent content_;
  std::uint64_t received_ = 0;
};

}  // namespace harrier
