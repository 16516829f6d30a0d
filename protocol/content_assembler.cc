#include "protocol/content_assembler.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/assert.h"
#include "protocol/constants.h"
#include "protocol/delay_headers.h"
#include "protocol/expiration.h"
#include "protocol/wire_reader.h"

namespace harrier {

namespace {

// basic.publish is the only content method a client sends, so every error blames it.
ProtocolError publish_error(ReplyCode code, std::string text) {
  return {code, std::move(text), BasicPublish::kId};
}

}  // namespace

void ContentAssembler::begin(const BasicPublish& publish) {
  HARRIER_CHECK(!active());
  exchange_.assign(publish.exchange);
  routing_key_.assign(publish.routing_key);
  content_.exchange = exchange_;
  content_.routing_key = routing_key_;
  content_.mandatory = publish.mandatory;
  content_.immediate = publish.immediate;
  content_.oversize = false;
  content_.body_bytes = 0;
  content_.properties = {};
  content_.properties_view.reset();
  content_.message = MessageRef();
  received_ = 0;
  awaiting_ = Awaiting::header;
}

ProtocolError ContentAssembler::unexpected() const {
  switch (awaiting_) {
    case Awaiting::header:
      return publish_error(
          ReplyCode::unexpected_frame,
          "expected content header for class 60, got non content header frame instead");
    case Awaiting::body:
      return publish_error(ReplyCode::unexpected_frame,
                           "expected content body, got non content body frame instead");
    case Awaiting::method:
      break;
  }
  return {ReplyCode::unexpected_frame, "expected method frame, got non method frame instead",
          MethodId{}};
}

Result<bool, ProtocolError> ContentAssembler::on_header(ByteView payload,
                                                        std::uint64_t max_message_bytes) {
  if (awaiting_ != Awaiting::header) return fail(unexpected());
  WireReader reader(payload);
  const std::uint16_t class_id = reader.u16();
  const std::uint16_t weight = reader.u16();
  content_.body_bytes = reader.u64();
  // A weight other than zero is no content header to RabbitMQ.
  if (!reader.ok() || weight != 0) return fail(unexpected());
  if (class_id != kClassBasic) {
    return fail(publish_error(ReplyCode::unexpected_frame,
                              "expected content header for class 60, got one for class " +
                                  std::to_string(class_id) + " instead"));
  }
  if (content_.body_bytes > kBodyBytesMax) {
    return fail(publish_error(ReplyCode::frame_error, "content body size " +
                                                          std::to_string(content_.body_bytes) +
                                                          " exceeds maximum allowed size " +
                                                          std::to_string(kBodyBytesMax)));
  }
  content_.oversize = content_.body_bytes > max_message_bytes;
  if (!content_.oversize) create_message(reader.rest());
  awaiting_ = Awaiting::body;
  return finish_if_complete();
}

Result<bool, ProtocolError> ContentAssembler::on_body(ByteView payload) {
  if (awaiting_ != Awaiting::body) return fail(unexpected());
  if (payload.size() > content_.body_bytes - received_) {
    return fail(
        publish_error(ReplyCode::frame_error, "content body frame exceeds remaining content size"));
  }
  if (content_.message) store(payload);
  received_ += payload.size();
  return finish_if_complete();
}

bool ContentAssembler::finish_if_complete() {
  if (received_ < content_.body_bytes) return false;
  awaiting_ = Awaiting::method;
  return true;
}

// Without a message the body is read past: that is how undecodable properties leave here.
void ContentAssembler::create_message(ByteView properties) {
  content_.properties_view = parse_properties(properties);
  if (!content_.properties_view) return;
  PropertiesView& view = *content_.properties_view;
  MessageParts parts{.exchange = exchange_, .routing_key = routing_key_, .properties = properties};
  parts.persistent = view.persistent();
  parts.priority = view.priority.value_or(0);
  if (view.expiration) parts.ttl_ms = parse_expiration(*view.expiration).value_or(-1);
  parts.delay_headers = view.headers && has_delay_headers(*view.headers);
  const std::size_t eager = std::min<std::size_t>(content_.body_bytes, kEagerBodyBytes);
  std::string unmarked;
  if ((static_cast<std::uint8_t>(properties[kPropertyMarksOctet]) & kPropertyMarks) != 0) {
    unmarked = properties;
    unmarked[kPropertyMarksOctet] =
        static_cast<char>(unmarked[kPropertyMarksOctet] & ~kPropertyMarks);
    parts.properties = unmarked;
  }
  content_.message = Message::create(parts, eager);
  content_.properties = content_.message->properties();
  rebase(view, properties.data(), content_.properties.data());
}

void ContentAssembler::store(ByteView payload) {
  const std::size_t stored = static_cast<std::size_t>(received_);
  const std::size_t needed = stored + payload.size();
  if (needed > content_.message->body().size()) grow(needed);
  if (payload.empty()) return;
  std::memcpy(content_.message->mutable_body() + stored, payload.data(), payload.size());
}

// The last growth ends exactly at the declared size, so the message needs no trimming.
void ContentAssembler::grow(std::size_t at_least) {
  const Message& small = *content_.message;
  const std::size_t capacity =
      std::min<std::size_t>(content_.body_bytes, std::max(at_least, small.body().size() * 2));
  const MessageParts parts{.exchange = small.exchange(),
                           .routing_key = small.routing_key(),
                           .properties = small.properties(),
                           .persistent = small.persistent(),
                           .priority = small.priority(),
                           .ttl_ms = small.ttl_ms(),
                           .delay_headers = small.has_delay_headers()};
  MessageRef large = Message::create(parts, capacity);
  std::memcpy(large->mutable_body(), small.body().data(), static_cast<std::size_t>(received_));
  rebase(*content_.properties_view, small.properties().data(), large->properties().data());
  content_.properties = large->properties();
  content_.message = std::move(large);
}

}  // namespace harrier
