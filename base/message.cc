#include "base/message.h"

#include <cstring>
#include <new>

#include "base/assert.h"

namespace harrier {

Message::Message(const MessageParts& parts, std::size_t body_bytes)
    : properties_bytes_(static_cast<std::uint32_t>(parts.properties.size())),
      body_bytes_(body_bytes),
      ttl_ms_(parts.ttl_ms),
      exchange_bytes_(static_cast<std::uint8_t>(parts.exchange.size())),
      routing_key_bytes_(static_cast<std::uint8_t>(parts.routing_key.size())),
      priority_(parts.priority),
      persistent_(parts.persistent),
      delay_headers_(parts.delay_headers) {
  char* at = octets();
  for (ByteView part : {parts.exchange, parts.routing_key, parts.properties}) {
    if (part.empty()) continue;
    std::memcpy(at, part.data(), part.size());
    at += part.size();
  }
}

MessageRef Message::create(const MessageParts& parts, std::size_t body_bytes) {
  HARRIER_CHECK(parts.exchange.size() <= 255);
  HARRIER_CHECK(parts.routing_key.size() <= 255);
  const std::size_t octets = sizeof(Message) + parts.exchange.size() + parts.routing_key.size() +
                             parts.properties.size() + body_bytes;
  return MessageRef(new (::operator new(octets)) Message(parts, body_bytes));
}

MessageRef Message::create(const MessageParts& parts, ByteView body) {
  MessageRef message = create(parts, body.size());
  if (!body.empty()) std::memcpy(message->mutable_body(), body.data(), body.size());
  return message;
}

void Message::destroy(Message* message) {
  message->~Message();
  ::operator delete(message);
}

}  // namespace harrier
