#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/assert.h"

namespace harrier {

// Slots for consecutive numbers, of which a growing prefix is finished: the entries of a queue by
// sequence number, the unacknowledged deliveries of a channel by delivery tag. push() hands out the
// next number, finish() gives a slot up in any order, and memory follows the unfinished ones: a
// chunk of kChunk slots is freed when its last one is finished, so one old straggler under a
// million finished numbers holds one chunk and a pointer per chunk. push, find and finish are O(1):
// what every message goes through several times.
// T is default constructible and cheap to move; a finished slot is reset to T().
template <class T, std::size_t kChunk = 128>
class SequenceWindow {
 public:
  explicit SequenceWindow(std::uint64_t first = 1) : begin_(first), end_(first) {}

  // Number of the oldest unfinished slot; end() when there is none. Finished numbers below it are
  // never seen again.
  std::uint64_t begin() const { return begin_; }

  std::uint64_t end() const { return end_; }

  std::size_t unfinished() const { return unfinished_; }

  bool empty() const { return unfinished_ == 0; }

  // Stores `value` under the number end() and returns that number.
  std::uint64_t push(T value) {
    push() = std::move(value);
    return end_ - 1;
  }

  // The same for a T() that is to be filled in.
  T& push() {
    if (end_ % kChunk == 0 || ring_.empty()) make_room();
    std::unique_ptr<Chunk>& home = home_of(end_);
    if (home == nullptr) home = take_chunk();  // all its numbers so far are finished
    const std::size_t at = place_of(end_);
    home->live[at / kWordBits] |= bit_of(at);
    ++unfinished_;
    ++end_;
    return home->slots[at];
  }

  // Leaves the numbers up to `next` out, as if pushed and finished. O(chunks left out).
  void skip_to(std::uint64_t next) {
    HARRIER_DCHECK(next >= end_);
    if (empty()) {
      begin_ = end_ = next;
      ring_.clear();
      return;
    }
    while (end_ < next) {
      if (end_ % kChunk == 0 && next - end_ >= kChunk) {
        make_room();
        end_ += kChunk;
      } else {
        finish(push(T()));
      }
    }
  }

  // The unfinished slot `number`, or null if it is finished or was never handed out.
  T* find(std::uint64_t number) {
    if (number < begin_ || number >= end_) return nullptr;
    Chunk* const home = home_of(number).get();
    const std::size_t at = place_of(number);
    return home != nullptr && home->is_live(at) ? &home->slots[at] : nullptr;
  }

  const T* find(std::uint64_t number) const {
    return const_cast<SequenceWindow*>(this)->find(number);
  }

  // Gives up the slot `number`, which must be unfinished.
  void finish(std::uint64_t number) {
    HARRIER_DCHECK(find(number) != nullptr);
    std::unique_ptr<Chunk>& home = home_of(number);
    const std::size_t at = place_of(number);
    home->slots[at] = T();
    home->live[at / kWordBits] &= ~bit_of(at);
    --unfinished_;
    if (home->is_done()) spare_ = std::move(home);
    if (number == begin_) begin_ = next_unfinished(begin_);
  }

  // The first unfinished number at or after `number`, end() when there is none. Skips finished
  // numbers by the word and freed chunks whole.
  std::uint64_t next_unfinished(std::uint64_t number) const {
    if (number < begin_) number = begin_;
    while (number < end_) {
      const Chunk* const home = home_of(number).get();
      const std::size_t at = place_of(number);
      if (home == nullptr) {
        number += kChunk - at;
        continue;
      }
      const std::uint64_t rest = home->live[at / kWordBits] >> at % kWordBits;
      if (rest != 0) return number + static_cast<std::uint64_t>(std::countr_zero(rest));
      number += kWordBits - at % kWordBits;
    }
    return end_;
  }

 private:
  static constexpr std::size_t kWordBits = kChunk < 64 ? kChunk : 64;
  static_assert(std::has_single_bit(kChunk));

  struct Chunk {
    bool is_live(std::size_t at) const { return (live[at / kWordBits] & bit_of(at)) != 0; }

    bool is_done() const {
      std::uint64_t any = 0;
      for (const std::uint64_t word : live)
        any |= word;
      return any == 0;
    }

    std::array<T, kChunk> slots{};
    std::array<std::uint64_t, kChunk / kWordBits> live{};  // a bit for each unfinished slot
  };

  static std::size_t place_of(std::uint64_t number) {
    return static_cast<std::size_t>(number % kChunk);
  }

  static std::uint64_t bit_of(std::size_t at) { return std::uint64_t{1} << at % kWordBits; }

  std::unique_ptr<Chunk>& home_of(std::uint64_t number) {
    return ring_[static_cast<std::size_t>(number / kChunk) & (ring_.size() - 1)];
  }

  const std::unique_ptr<Chunk>& home_of(std::uint64_t number) const {
    return ring_[static_cast<std::size_t>(number / kChunk) & (ring_.size() - 1)];
  }

  // For the chunk of end(), which is a new one.
  void make_room() {
    if (empty()) {
      begin_ = end_;
      if (ring_.size() > kRingKept) ring_.clear();
    }
    const std::size_t needed = static_cast<std::size_t>(end_ / kChunk - begin_ / kChunk) + 1;
    if (needed <= ring_.size()) return;
    std::vector<std::unique_ptr<Chunk>> larger(std::bit_ceil(needed));
    for (std::uint64_t chunk = begin_ / kChunk; !ring_.empty() && chunk < end_ / kChunk; ++chunk) {
      larger[static_cast<std::size_t>(chunk) & (larger.size() - 1)] =
          std::move(ring_[static_cast<std::size_t>(chunk) & (ring_.size() - 1)]);
    }
    ring_ = std::move(larger);
  }

  std::unique_ptr<Chunk> take_chunk() {
    return spare_ != nullptr ? std::move(spare_) : std::make_unique<Chunk>();
  }

  static constexpr std::size_t kRingKept = 64;  // by an empty window

  // The chunk of number n is at n / kChunk modulo the size, which is a power of two and no less
  // than the chunks from begin_ to end_. Null where all numbers are finished or out of the window.
  std::vector<std::unique_ptr<Chunk>> ring_;
  std::unique_ptr<Chunk> spare_;  // the last one freed: a steady flow never allocates
  std::uint64_t begin_;
  std::uint64_t end_;
  std::size_t unfinished_ = 0;
};

}  // namespace harrier
