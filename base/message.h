#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/strong_id.h"

namespace harrier {

class MessageRef;

// Names a body that went to the store ahead of its message (StoreBatch::stage). Never 0 for one
// that did.
using BodyNumber = StrongId<struct BodyNumberTag, std::uint64_t>;

// What a message is made of, besides its body. The views are copied into the message.
struct MessageParts {
  std::string_view exchange;     // as named in basic.publish, at most 255 octets
  std::string_view routing_key;  // at most 255 octets
  ByteView properties;           // content header from property-flags on, as received
  bool persistent = false;       // delivery-mode 2
  std::uint8_t priority = 0;     // as published, 0 when absent
  std::int64_t ttl_ms = -1;      // parsed `expiration`, -1 when absent
  bool delay_headers = false;    // as published; a message that was read back has none any more
};

// One published message: envelope, properties and body in a single allocation, shared by every
// queue, consumer and commit batch that holds it. Immutable once the body is complete; the count is
// atomic because holders live on several shards and on the committer thread.
class Message {
 public:
  // A message whose `body_bytes` octets of body are still to be written through mutable_body()
  // by the only holder.
  static MessageRef create(const MessageParts& parts, std::size_t body_bytes);
  static MessageRef create(const MessageParts& parts, ByteView body);

  std::string_view exchange() const { return {octets(), exchange_bytes_}; }

  std::string_view routing_key() const { return {octets() + exchange_bytes_, routing_key_bytes_}; }

  ByteView properties() const {
    return {octets() + exchange_bytes_ + routing_key_bytes_, properties_bytes_};
  }

  ByteView body() const { return {octets() + body_offset(), body_bytes_}; }

  char* mutable_body() { return octets() + body_offset(); }

  bool persistent() const { return persistent_; }

  std::uint8_t priority() const { return priority_; }

  std::int64_t ttl_ms() const { return ttl_ms_; }

  // Its headers may say when queues are to hand it out (protocol/delay_headers.h).
  bool has_delay_headers() const { return delay_headers_; }

  // The store may have the body already, as this one; {} if it does not. The one thing that is set
  // after the body is complete: by the shard that published it, when no queue and no batch has the
  // message any more or yet but those of the staged parts, which do not look at it.
  BodyNumber stored_body() const { return stored_body_; }

  void set_stored_body(BodyNumber body) { stored_body_ = body; }

  // Octets this message occupies in memory.
  std::size_t footprint() const { return sizeof(Message) + body_offset() + body_bytes_; }

  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

 private:
  friend class MessageRef;

  Message(const MessageParts& parts, std::size_t body_bytes);
  ~Message() = default;
  static void destroy(Message* message);

  char* octets() { return reinterpret_cast<char*>(this + 1); }

  const char* octets() const { return reinterpret_cast<const char*>(this + 1); }

  std::size_t body_offset() const {
    return std::size_t{exchange_bytes_} + routing_key_bytes_ + properties_bytes_;
  }

  std::atomic<std::uint32_t> holders_{1};
  std::uint32_t properties_bytes_;
  std::uint64_t body_bytes_;
  std::int64_t ttl_ms_;
  BodyNumber stored_body_{};
  std::uint8_t exchange_bytes_;
  std::uint8_t routing_key_bytes_;
  std::uint8_t priority_;
  bool persistent_ : 1;
  bool delay_headers_ : 1;
};

// A share in a Message. Null when default constructed or moved from. A copy costs one relaxed
// atomic increment.
class MessageRef {
 public:
  MessageRef() = default;

  MessageRef(const MessageRef& other) : message_(other.message_) {
    if (message_ != nullptr) message_->holders_.fetch_add(1, std::memory_order_relaxed);
  }

  MessageRef(MessageRef&& other) noexcept : message_(std::exchange(other.message_, nullptr)) {}

  MessageRef& operator=(const MessageRef& other) { return *this = MessageRef(other); }

  MessageRef& operator=(MessageRef&& other) noexcept {
    Message* const adopted = std::exchange(other.message_, nullptr);
    release();
    message_ = adopted;
    return *this;
  }

  ~MessageRef() { release(); }

  explicit operator bool() const { return message_ != nullptr; }

  Message* operator->() const { return message_; }

  Message& operator*() const { return *message_; }

  Message* get() const { return message_; }

 private:
  friend class Message;

  explicit MessageRef(Message* adopted) : message_(adopted) {}

  void release() {
    // The last holder may be another thread than the writer: acquire pairs with the others'
    // release.
    if (message_ != nullptr && message_->holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      Message::destroy(message_);
    }
  }

  Message* message_ = nullptr;
};

}  // namespace harrier
