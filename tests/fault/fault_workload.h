#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "fault_model.h"

namespace harrier::test {

// Random batches of several submitters as a broker might make them, and the judge of what a store
// gives back after its life was cut off. The same seed makes the same batches.
class FaultWorkload {
 public:
  static constexpr std::uint32_t kSubmitters = 3;

  explicit FaultWorkload(std::uint64_t seed) : random_(seed) {}

  // The next batch, to be submitted at once. Its ticket is set.
  const Submission& next();

  // All lanes that may be in the store now, dropped ones too.
  std::vector<LaneId> lanes() const;

  // Judges what was recovered. `announced` are the last durable tickets of the submitters. If
  // nothing is wrong, everything goes on from `found`; the tickets start anew.
  std::vector<std::string> judge(const Recovered& found, const std::vector<Ticket>& announced);

  std::uint64_t submitted() const { return number_; }

  // Announced batches that judge() has found again.
  std::uint64_t confirmed() const { return confirmed_; }

  // Entries that were put and not settled.
  std::size_t live() const;

  // Of them those with a body of several parts.
  std::size_t large() const;

  // How many of those judge() has found again.
  std::uint64_t large_found() const { return large_found_; }

  // The store was stopped in order: what is open then is written as it is.
  void forget_open_group();

  // Nothing becomes durable until the group is complete.
  bool has_open_group() const { return open_group_ != 0; }

 private:
  struct Group {
    std::vector<std::uint64_t> numbers;  // of its batches so far
    std::uint32_t parts = 0;
    Step fan_out{};  // a put that all its batches have, into lanes of their own
  };

  // A message whose body goes to the store ahead of it.
  struct Upload {
    Step put{};
    std::size_t sent = 0;
    std::uint64_t pace = 1;  // batches per step of it, about
  };

  void fill(Submission& batch);
  void fill_without_trace(Submission& batch);
  void put(Submission& batch);
  Step shared_put();
  void send_ahead(Submission& batch);
  void begin_upload();
  void send_part(Submission& batch, Upload& upload);
  Step take_upload(std::size_t index);
  void fan_out(Submission& batch, Step put);
  void settle(Submission& batch);
  void record(Submission& batch);
  void join_group(Submission& batch);
  void add(Submission& batch, Step step);
  std::uint32_t pick_lane();
  std::vector<std::string> judge_groups(std::uint64_t last) const;

  std::uint64_t below(std::uint64_t n) { return random_() % n; }

  std::mt19937_64 random_;
  StoreModel base_;                  // what the store held when it was last recovered
  StoreModel ahead_;                 // with everything submitted since
  std::vector<Submission> history_;  // since
  std::vector<Ticket> tickets_ = std::vector<Ticket>(kSubmitters);
  std::uint64_t number_ = 0;
  std::uint64_t confirmed_ = 0;
  std::uint64_t large_found_ = 0;
  std::uint32_t next_lane_ = 1;
  std::uint64_t shared_ = 0;             // number of the last message that is shared
  std::vector<Upload> uploads_;          // the put is still to come
  std::set<std::uint32_t> known_lanes_;  // since

  std::map<std::uint64_t, Group> groups_;  // since
  std::uint64_t group_ = 0;                // the last one
  bool is_sparse_ = false;  // little stays for long, so that epochs go while bodies are staged
  std::uint64_t open_group_ = 0;  // 0: none
};

}  // namespace harrier::test
