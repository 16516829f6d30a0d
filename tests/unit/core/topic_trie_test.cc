#include "broker/core/exchanges/topic_trie.h"

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "tests/unit/core/core_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

struct Marks {
  std::set<std::string> patterns;

  bool empty() const { return patterns.empty(); }
};

using Trie = TopicTrie<Marks>;

void add(Trie& trie, const std::string& pattern) {
  trie.leaf(pattern).patterns.insert(pattern);
}

void remove(Trie& trie, const std::string& pattern) {
  trie.find(pattern)->patterns.erase(pattern);
  trie.prune(pattern);
}

std::set<std::string> matches(const Trie& trie, std::string_view key) {
  std::set<std::string> found;
  trie.match(key, [&found](const Marks& marks) {
    found.insert(marks.patterns.begin(), marks.patterns.end());
  });
  return found;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  if (text.empty()) return words;
  for (std::size_t dot = text.find('.'); dot != std::string_view::npos; dot = text.find('.')) {
    words.emplace_back(text.substr(0, dot));
    text.remove_prefix(dot + 1);
  }
  words.emplace_back(text);
  return words;
}

// The definition of a match, by trying everything.
bool naive_match(const std::vector<std::string>& pattern, std::size_t p,
                 const std::vector<std::string>& key, std::size_t k) {
  if (p == pattern.size()) return k == key.size();
  if (pattern[p] == "#") {
    return naive_match(pattern, p + 1, key, k) ||
           (k < key.size() && naive_match(pattern, p, key, k + 1));
  }
  if (k == key.size()) return false;
  return (pattern[p] == "*" || pattern[p] == key[k]) && naive_match(pattern, p + 1, key, k + 1);
}

bool naive_match(const std::string& pattern, const std::string& key) {
  return naive_match(words_of(pattern), 0, words_of(key), 0);
}

std::string random_text(std::mt19937& random, const std::vector<std::string>& alphabet) {
  std::string text;
  const std::size_t words = random() % 6;
  for (std::size_t i = 0; i < words; ++i) {
    if (i > 0) text += '.';
    text += alphabet[random() % alphabet.size()];
  }
  return text;
}

}  // namespace

TEST_SUITE("topic patterns") {
  TEST_CASE("a pattern matches a key word by word") {
    struct Row {
      const char* pattern;
      std::vector<const char*> matching;
      std::vector<const char*> others;
    };

    for (const Row& row : {
             Row{"#", {"", "a", ".", "a.b.c"}, {}},
             Row{"", {""}, {".", "a"}},
             Row{"*", {"a", "*", "#"}, {"", "a.b", "."}},
             Row{"a.#", {"a", "a.", "a.b.c"}, {"ab", "", "b.a"}},
             Row{"#.c", {"c", "a.b.c"}, {"c.d", "", "ac"}},
             Row{"a.#.c", {"a.c", "a.b.c", "a.b.b.c"}, {"a", "c", "a.c.b"}},
             Row{"*.#", {"a", ".", "a.b", "a.b.c"}, {""}},
             Row{"#.*", {"a", ".", "a.b"}, {""}},
             Row{"#.#", {"", "a", "a.b"}, {}},
             Row{"a.*", {"a.", "a.b"}, {"a", "a..b", ""}},
             Row{"a.*.#", {"a..b", "a.b", "a.b.c"}, {"a"}},
             Row{"*.*", {".", "a.b"}, {"a", "", "a.b.c"}},
             Row{"a.#.b.#.c", {"a.b.c", "a.x.b.y.c", "a.b.b.c"}, {"a.c", "a.b"}},
             Row{"a.#.#.#.b", {"a.b", "a.x.b", "a.x.y.z.b"}, {"a", "b", "a.b.c"}},
             Row{"*a", {"*a"}, {"a", "ba"}},
             Row{"a*", {"a*"}, {"a", "ab"}},
             Row{"a.b#", {"a.b#"}, {"a.b", "a.bc", "a.b.c"}},
             Row{"A", {"A"}, {"a"}},
             Row{"a..b", {"a..b"}, {"a.b", "a.x.b"}},
             Row{".", {"."}, {"", "..", "a"}},
         }) {
      Trie trie;
      add(trie, row.pattern);
      CAPTURE(std::string(row.pattern));
      for (const std::string key : row.matching) {
        CAPTURE(key);
        CHECK(matches(trie, key).size() == 1);
      }
      for (const std::string key : row.others) {
        CAPTURE(key);
        CHECK(matches(trie, key).empty());
      }
    }
  }

  TEST_CASE("what a removed pattern leaves behind is nothing") {
    Trie trie;
    const std::vector<std::string> patterns = {"a.b.c", "a.*.c", "a.#", "#", "a.b", "", "#.#.a"};
    for (const std::string& pattern : patterns)
      add(trie, pattern);
    for (const std::string& pattern : patterns)
      remove(trie, pattern);
    CHECK(trie.empty());
    CHECK(trie.find("a.b") == nullptr);
    CHECK(matches(trie, "a.b").empty());
  }

  TEST_CASE("removing a pattern keeps those that share its words") {
    Trie trie;
    add(trie, "a.b");
    add(trie, "a.b.c");
    remove(trie, "a.b.c");
    CHECK(matches(trie, "a.b") == std::set<std::string>{"a.b"});
    add(trie, "a");
    remove(trie, "a.b");
    CHECK(matches(trie, "a") == std::set<std::string>{"a"});
    CHECK(trie.node_count() == 1);
  }

  TEST_CASE("random patterns match as the naive definition says, through additions and removals") {
    std::mt19937 random(random_seed());
    const std::vector<std::string> key_words = {"a", "b", "c", "", "*", "#"};
    const std::vector<std::string> pattern_words = {"a", "b", "", "*", "#", "#", "*a"};
    Trie trie;
    std::set<std::string> present;
    for (int round = 0; round < 3000; ++round) {
      const std::string pattern = random_text(random, pattern_words);
      if (present.insert(pattern).second) {
        add(trie, pattern);
      } else {
        present.erase(pattern);
        remove(trie, pattern);
      }
      const std::string key = random_text(random, key_words);
      std::set<std::string> expected;
      for (const std::string& one : present) {
        if (naive_match(one, key)) expected.insert(one);
      }
      CAPTURE(key);
      REQUIRE(matches(trie, key) == expected);
    }
    for (const std::string& pattern : present)
      remove(trie, pattern);
    CHECK(trie.empty());
  }

  // Naive backtracking would need more steps than there are atoms for these.
  TEST_CASE("no pattern makes matching exponential") {
    std::string hashes = "#";
    std::string alternating = "#.a";
    std::string key = "a";
    while (hashes.size() < 250)
      hashes += ".#";
    while (alternating.size() < 250)
      alternating += ".#.a";
    while (key.size() < 253)
      key += ".a";
    Trie trie;
    add(trie, hashes);
    add(trie, alternating);
    add(trie, hashes + ".b");
    add(trie, alternating + ".b");
    const std::set<std::string> expected = {hashes, alternating};
    for (int i = 0; i < 100; ++i)
      CHECK(matches(trie, key) == expected);
  }
}
