#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include "broker/core/definitions.h"

namespace harrier {

class Queue;
class QueueRef;

// One shard's view of a queue: what it is, where it lives and, on its home shard, the queue itself.
// Every shard has its own handle. Sessions keep a QueueRef, so a handle outlives the deletion of
// its queue; `deleted` says so. Confined to one shard, hence the plain count.
class QueueHandle {
 public:
  explicit QueueHandle(QueueDefinition definition) : definition_(std::move(definition)) {}

  const QueueDefinition& definition() const { return definition_; }

  const std::string& name() const { return definition_.name; }

  QueueId id() const { return definition_.id; }

  ShardIndex home() const { return definition_.home; }

  // The queue on its home shard; null on every other shard and after deletion.
  Queue* queue() const { return queue_; }

  void attach(Queue* queue) { queue_ = queue; }

  bool deleted() const { return deleted_; }

  void mark_deleted() {
    deleted_ = true;
    queue_ = nullptr;
  }

  // How long its deliveries may stay unacknowledged, if it says so. On every shard.
  std::optional<std::chrono::milliseconds> consumer_timeout() const { return consumer_timeout_; }

  void set_consumer_timeout(std::optional<std::chrono::milliseconds> timeout) {
    consumer_timeout_ = timeout;
  }

  // Number of the last routing that chose this queue: one copy per publish at no cost of a set.
  std::uint64_t route_mark = 0;

 private:
  friend class QueueRef;

  QueueDefinition definition_;
  Queue* queue_ = nullptr;
  bool deleted_ = false;
  std::uint32_t holders_ = 0;
  std::optional<std::chrono::milliseconds> consumer_timeout_;
};

// A share in a QueueHandle, on the handle's own shard only.
class QueueRef {
 public:
  QueueRef() = default;

  explicit QueueRef(QueueHandle* handle) : handle_(handle) {
    if (handle_ != nullptr) ++handle_->holders_;
  }

  QueueRef(const QueueRef& other) : QueueRef(other.handle_) {}

  QueueRef(QueueRef&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}

  QueueRef& operator=(QueueRef other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  ~QueueRef() {
    if (handle_ != nullptr && --handle_->holders_ == 0) delete handle_;
  }

  explicit operator bool() const { return handle_ != nullptr; }

  QueueHandle* get() const { return handle_; }

  QueueHandle* operator->() const { return handle_; }

  QueueHandle& operator*() const { return *handle_; }

 private:
  QueueHandle* handle_ = nullptr;
};

}  // namespace harrier
