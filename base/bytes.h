#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

namespace harrier {

// Octets owned by somebody else. A string_view because everything that takes octets here (sockets,
// RocksDB slices, AMQP strings) takes chars; it may hold any octet including NUL.
using ByteView = std::string_view;

// Growable octets that are appended at the end and consumed as a whole. Growth leaves new memory
// uninitialised, which std::string cannot do, and that is what makes it the output of the codec.
class Buffer {
 public:
  Buffer() = default;

  explicit Buffer(std::size_t capacity) { reserve(capacity); }

  Buffer(Buffer&& other) noexcept
      : data_(std::move(other.data_)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}

  Buffer& operator=(Buffer&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
    return *this;
  }

  char* data() { return data_.get(); }

  const char* data() const { return data_.get(); }

  std::size_t size() const { return size_; }

  std::size_t capacity() const { return capacity_; }

  bool empty() const { return size_ == 0; }

  ByteView view() const { return {data_.get(), size_}; }

  void clear() { size_ = 0; }

  // Gives the memory back as well.
  void reset() { *this = Buffer(); }

  void reserve(std::size_t capacity) {
    if (capacity > capacity_) grow(capacity);
  }

  // `n` uninitialised octets at the end, already counted in size(). Valid until the next growth.
  char* extend(std::size_t n) {
    if (size_ + n > capacity_) grow(size_ + n);
    char* at = data_.get() + size_;
    size_ += n;
    return at;
  }

  void append(ByteView octets) {
    if (!octets.empty()) std::memcpy(extend(octets.size()), octets.data(), octets.size());
  }

  // Drops everything from `size` on; `size` must not exceed size().
  void truncate(std::size_t size) { size_ = size; }

  // Drops the first `n` octets by moving the rest down. O(rest).
  void consume(std::size_t n) {
    size_ -= n;
    if (size_ > 0) std::memmove(data_.get(), data_.get() + n, size_);
  }

 private:
  void grow(std::size_t at_least) {
    std::size_t capacity = capacity_ < 256 ? 256 : capacity_ * 2;
    if (capacity < at_least) capacity = at_least;
    std::unique_ptr<char[]> data(new char[capacity]);
    if (size_ > 0) std::memcpy(data.get(), data_.get(), size_);
    data_ = std::move(data);
    capacity_ = capacity;
  }

  std::unique_ptr<char[]> data_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace harrier
