#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/assert.h"

namespace harrier {

// Topic patterns as a trie over their dot-separated words, read as a nondeterministic automaton:
// the nodes are its states, `*` is an edge for any word, `#` an edge for no word into a node that
// stays alive on every word. Matching walks the set of live states once per word of the key. A
// state is in the set at most once, so the cost is at most words * live states: no pattern makes
// it exponential, and patterns that part from the key early are never touched.
//
// "" has no words, "." has two empty ones. A wildcard counts only as a whole word.
// `Leaf` is what the patterns lead to: default constructible, with empty().
template <class Leaf>
class TopicTrie {
 public:
  // The leaf of `pattern`, created when new. Valid until prune().
  Leaf& leaf(std::string_view pattern) { return grow(pattern).leaf; }

  // The leaf of `pattern`, or null.
  Leaf* find(std::string_view pattern) {
    Node* node = descend(pattern);
    return node == nullptr ? nullptr : &node->leaf;
  }

  // Drops the nodes of `pattern` that lead nowhere any more, after its leaf became empty.
  void prune(std::string_view pattern) {
    Node* node = descend(pattern);
    while (node != nullptr && node->parent != nullptr && node->is_idle()) {
      Node* parent = node->parent;
      parent->drop(node);
      --node_count_;
      node = parent;
    }
  }

  // Calls visit(leaf) for every pattern that matches `key`, each once. Does not allocate once the
  // reused state lists have their size.
  template <class Visit>
  void match(std::string_view key, Visit&& visit) const {
    live_.clear();
    ++step_;
    enter(root_, live_);
    each_word(key, [this](std::string_view word) { advance(word); });
    for (const Node* node : live_) {
      if (!node->leaf.empty()) visit(node->leaf);
    }
  }

  bool empty() const { return node_count_ == 0; }

  std::size_t node_count() const { return node_count_; }

 private:
  // A word and its hash, computed once for all the nodes that look it up.
  struct HashedWord {
    std::string_view word;
    std::size_t hash = 0;
  };

  struct WordHash {
    using is_transparent = void;

    // Not noexcept, so that libstdc++ keeps the hash of every element (see NameHash).
    std::size_t operator()(const std::string& word) const {
      return std::hash<std::string_view>()(word);
    }

    std::size_t operator()(const HashedWord& word) const { return word.hash; }
  };

  struct WordEqual {
    using is_transparent = void;

    bool operator()(const std::string& a, const std::string& b) const { return a == b; }

    bool operator()(const HashedWord& a, const std::string& b) const { return a.word == b; }

    bool operator()(const std::string& a, const HashedWord& b) const { return a == b.word; }
  };

  struct Node {
    std::unordered_map<std::string, std::unique_ptr<Node>, WordHash, WordEqual> words;
    std::unique_ptr<Node> any_word;   // `*`
    std::unique_ptr<Node> any_words;  // `#`
    Node* parent = nullptr;
    std::string word;                // the edge that leads here from the parent
    bool is_hash = false;            // reached by `#`: stays alive on every word
    mutable std::uint64_t step = 0;  // the last step that made this state live
    Leaf leaf;

    bool is_idle() const { return leaf.empty() && words.empty() && !any_word && !any_words; }

    void drop(Node* child) {
      if (child == any_word.get()) {
        any_word.reset();
      } else if (child == any_words.get()) {
        any_words.reset();
      } else {
        words.erase(words.find(hashed(child->word)));
      }
    }
  };

  static HashedWord hashed(std::string_view word) {
    return {word, std::hash<std::string_view>()(word)};
  }

  template <class Visit>
  static void each_word(std::string_view key, Visit&& visit) {
    if (key.empty()) return;
    for (;;) {
      const std::size_t dot = key.find('.');
      visit(key.substr(0, dot));
      if (dot == std::string_view::npos) return;
      key.remove_prefix(dot + 1);
    }
  }

  // The edge of `node` for a word of a pattern. `#.#` means the same as `#`, so a second `#` stays
  // where it is; that keeps long runs of them from costing anything.
  static std::unique_ptr<Node>* wildcard_edge(Node& node, std::string_view word) {
    if (word == "*") return &node.any_word;
    if (word == "#") return &node.any_words;
    return nullptr;
  }

  static bool repeats_hash(const Node& node, std::string_view word) {
    return node.is_hash && word == "#";
  }

  Node& grow(std::string_view pattern) {
    Node* node = &root_;
    each_word(pattern, [this, &node](std::string_view word) {
      if (repeats_hash(*node, word)) return;
      std::unique_ptr<Node>* edge = wildcard_edge(*node, word);
      if (edge == nullptr) edge = &node->words.try_emplace(std::string(word)).first->second;
      if (!*edge) {
        *edge = std::make_unique<Node>();
        (*edge)->parent = node;
        (*edge)->word = word;
        (*edge)->is_hash = word == "#";
        ++node_count_;
      }
      node = edge->get();
    });
    return *node;
  }

  Node* descend(std::string_view pattern) {
    Node* node = &root_;
    each_word(pattern, [&node](std::string_view word) {
      if (node == nullptr || repeats_hash(*node, word)) return;
      if (std::unique_ptr<Node>* edge = wildcard_edge(*node, word)) {
        node = edge->get();
        return;
      }
      const auto found = node->words.find(hashed(word));
      node = found == node->words.end() ? nullptr : found->second.get();
    });
    return node;
  }

  // Makes `node` live in this step, and with it what `#` for no words leads to. One level of `#`
  // is enough: an edge `#` never leaves a node reached by `#`.
  void enter(const Node& node, std::vector<const Node*>& live) const {
    make_live(node, live);
    if (node.any_words) make_live(*node.any_words, live);
  }

  void make_live(const Node& node, std::vector<const Node*>& live) const {
    if (node.step == step_) return;
    node.step = step_;
    live.push_back(&node);
  }

  void advance(std::string_view text) const {
    ++step_;
    next_.clear();
    const HashedWord word = hashed(text);
    for (const Node* node : live_) {
      if (node->is_hash) make_live(*node, next_);
      if (node->any_word) enter(*node->any_word, next_);
      if (node->words.empty()) continue;
      const auto found = node->words.find(word);
      if (found != node->words.end()) enter(*found->second, next_);
    }
    live_.swap(next_);
  }

  Node root_;
  std::size_t node_count_ = 0;

  // Scratch of match(), on the one shard that owns the exchange.
  mutable std::uint64_t step_ = 0;
  mutable std::vector<const Node*> live_;
  mutable std::vector<const Node*> next_;
};

}  // namespace harrier
