#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

#include "base/assert.h"

namespace harrier {

// A callable that is moved to another thread or kept for later and called at most once. Captures of
// up to kInlineBytes live inside, so that handing a message to another shard allocates nothing;
// std::function would allocate past 16 octets and demand copyable captures.
template <class Signature>
class UniqueFunction;

// The inline storage stays uninitialised on purpose: it is written before it is used, and clearing
// it would cost more than the call. A lambda is meant to convert.
// NOLINTBEGIN(cppcoreguidelines-pro-type-member-init,bugprone-forwarding-reference-overload,google-explicit-constructor)
template <class R, class... Args>
class UniqueFunction<R(Args...)> {
 public:
  static constexpr std::size_t kInlineBytes = 56;

  UniqueFunction() = default;

  template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, UniqueFunction>>>
  UniqueFunction(F&& callable) {
    using Callable = std::decay_t<F>;
    if constexpr (kFits<Callable>) {
      new (storage_) Callable(std::forward<F>(callable));
    } else {
      *reinterpret_cast<Callable**>(storage_) = new Callable(std::forward<F>(callable));
    }
    operations_ = &kOperations<Callable>;
  }

  UniqueFunction(UniqueFunction&& other) noexcept { take(other); }

  UniqueFunction& operator=(UniqueFunction&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }

  ~UniqueFunction() { reset(); }

  explicit operator bool() const { return operations_ != nullptr; }

  R operator()(Args... args) {
    HARRIER_DCHECK(operations_ != nullptr);
    return operations_->call(storage_, std::forward<Args>(args)...);
  }

  void reset() {
    if (operations_ != nullptr) operations_->destroy(storage_);
    operations_ = nullptr;
  }

 private:
  template <class Callable>
  static constexpr bool kFits = sizeof(Callable) <= kInlineBytes &&
                                alignof(Callable) <= alignof(std::max_align_t) &&
                                std::is_nothrow_move_constructible_v<Callable>;

  struct Operations {
    R (*call)(void*, Args&&...);
    void (*move)(void* to, void* from);
    void (*destroy)(void*);
  };

  template <class Callable>
  static Callable* target(void* storage) {
    if constexpr (kFits<Callable>) {
      return std::launder(reinterpret_cast<Callable*>(storage));
    } else {
      return *reinterpret_cast<Callable**>(storage);
    }
  }

  template <class Callable>
  static constexpr Operations kOperations{
      [](void* storage, Args&&... args) -> R {
        return (*target<Callable>(storage))(std::forward<Args>(args)...);
      },
      [](void* to, void* from) {
        if constexpr (kFits<Callable>) {
          new (to) Callable(std::move(*target<Callable>(from)));
          target<Callable>(from)->~Callable();
        } else {
          *reinterpret_cast<Callable**>(to) = target<Callable>(from);
        }
      },
      [](void* storage) {
        if constexpr (kFits<Callable>) {
          target<Callable>(storage)->~Callable();
        } else {
          delete target<Callable>(storage);
        }
      }};

  void take(UniqueFunction& other) {
    if (other.operations_ == nullptr) return;
    other.operations_->move(storage_, other.storage_);
    operations_ = std::exchange(other.operations_, nullptr);
  }

  alignas(std::max_align_t) std::byte storage_[kInlineBytes];
  const Operations* operations_ = nullptr;
};

// NOLINTEND(cppcoreguidelines-pro-type-member-init,bugprone-forwarding-reference-overload,google-explicit-constructor)

using Task = UniqueFunction<void()>;

}  // namespace harrier
