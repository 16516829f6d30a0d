#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

#include "base/assert.h"

namespace harrier {

// Slots for consecutive numbers, of which a growing prefix is finished: the entries of a queue by
// sequence number, the unacknowledged deliveries of a channel by delivery tag. push() hands out the
// next number, finish() gives a slot up in any order, and memory follows the unfinished ones: a
// chunk of kChunk slots is freed when its last one is finished, so one old straggler under a
// million finished numbers holds one chunk and a pointer per chunk. push, find and finish are O(1).
// T is default constructible and cheap to move; a finished slot is reset to T().
template <class T, std::size_t kChunk = 128>
class SequenceWindow {
 public:
  explicit SequenceWindow(std::uint64_t first = 1)
      : base_(first - first % kChunk), begin_(first), end_(first) {}

  // Number of the oldest unfinished slot; end() when there is none. Finished numbers below it are
  // never seen again.
  std::uint64_t begin() const { return begin_; }

  std::uint64_t end() const { return end_; }

  std::size_t unfinished() const { return unfinished_; }

  bool empty() const { return unfinished_ == 0; }

  // Stores `value` under the number end() and returns that number.
  std::uint64_t push(T value) {
    const std::size_t chunk = static_cast<std::size_t>((end_ - base_) / kChunk);
    if (chunk == chunks_.size()) chunks_.push_back(take_chunk());
    if (chunks_[chunk] == nullptr)
      chunks_[chunk] = take_chunk();  // all its numbers so far finished
    Chunk& home = *chunks_[chunk];
    const std::size_t at = static_cast<std::size_t>(end_ % kChunk);
    home.slots[at] = std::move(value);
    home.live[at] = true;
    ++home.live_count;
    ++unfinished_;
    return end_++;
  }

  // Leaves the numbers up to `next` out, as if pushed and finished. O(chunks left out).
  void skip_to(std::uint64_t next) {
    HARRIER_DCHECK(next >= end_);
    if (empty()) {
      chunks_.clear();
      base_ = next - next % kChunk;
      begin_ = end_ = next;
      return;
    }
    while (end_ < next) {
      if (end_ % kChunk == 0 && next - end_ >= kChunk) {
        chunks_.push_back(nullptr);
        end_ += kChunk;
      } else {
        finish(push(T()));
      }
    }
  }

  // The unfinished slot `number`, or null if it is finished or was never handed out.
  T* find(std::uint64_t number) {
    if (number < begin_ || number >= end_) return nullptr;
    Chunk* chunk = chunks_[static_cast<std::size_t>((number - base_) / kChunk)].get();
    const std::size_t at = static_cast<std::size_t>(number % kChunk);
    return chunk != nullptr && chunk->live[at] ? &chunk->slots[at] : nullptr;
  }

  const T* find(std::uint64_t number) const {
    return const_cast<SequenceWindow*>(this)->find(number);
  }

  // Gives up the slot `number`, which must be unfinished.
  void finish(std::uint64_t number) {
    HARRIER_DCHECK(find(number) != nullptr);
    std::unique_ptr<Chunk>& chunk = chunks_[static_cast<std::size_t>((number - base_) / kChunk)];
    const std::size_t at = static_cast<std::size_t>(number % kChunk);
    chunk->slots[at] = T();
    chunk->live[at] = false;
    --unfinished_;
    if (--chunk->live_count == 0) {
      spare_ = std::move(chunk);
    }
    if (number == begin_) advance_begin();
  }

  // The first unfinished number at or after `number`, end() when there is none. Amortised O(1) when
  // walking upwards; skips freed chunks whole.
  std::uint64_t next_unfinished(std::uint64_t number) const {
    if (number < begin_) number = begin_;
    while (number < end_) {
      const Chunk* chunk = chunks_[static_cast<std::size_t>((number - base_) / kChunk)].get();
      if (chunk == nullptr) {
        number = number - number % kChunk + kChunk;
        continue;
      }
      if (chunk->live[static_cast<std::size_t>(number % kChunk)]) return number;
      ++number;
    }
    return end_;
  }

 private:
  struct Chunk {
    std::array<T, kChunk> slots{};
    std::array<bool, kChunk> live{};
    std::size_t live_count = 0;
  };

  std::unique_ptr<Chunk> take_chunk() {
    return spare_ != nullptr ? std::move(spare_) : std::make_unique<Chunk>();
  }

  void advance_begin() {
    begin_ = next_unfinished(begin_);
    while (!chunks_.empty() && begin_ >= base_ + kChunk) {
      chunks_.pop_front();
      base_ += kChunk;
    }
  }

  std::deque<std::unique_ptr<Chunk>> chunks_;  // of the numbers [base_, base_ + chunks * kChunk)
  std::unique_ptr<Chunk> spare_;               // the last one freed: a steady flow never allocates
  std::uint64_t base_;                         // multiple of kChunk
  std::uint64_t begin_;
  std::uint64_t end_;
  std::size_t unfinished_ = 0;
};

}  // namespace harrier
