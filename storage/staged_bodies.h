#pragma once

#include <cstddef>
#include <optional>
#include <unordered_map>
#include <vector>

#include "storage/body_store.h"
#include "storage/keys.h"
#include "storage/lane_states.h"
#include "storage/store.h"

namespace harrier {

// Bodies that come to the store in parts, over many commits and maybe several epochs, before the
// put that refers to them. Known only in memory: what is left of an unfinished body after a crash
// is in epochs that nothing needs. Belongs to the commit writer.
class StagedBodies {
 public:
  // A part that is to be written in `epoch`: the key of its first chunk. None if it does not go on
  // where the parts before it ended, because those went to a writer that is gone: such a body is
  // forgotten, its put will write it.
  std::optional<BodyKey> add(const StoreBatch::BodyPart& part, Epoch epoch, BodyWriter& ids);

  // Where the body of `message` lies; none if it is not here or not complete.
  std::optional<BodyPlace> place_of(const Message& message) const;

  // Octets of bodies that the puts of `batch` count on in vain.
  std::size_t missing_in(const StoreBatch& batch) const;

  // Nothing behind the commit at hand will refer to `body`. Its epochs are needed until then only.
  void release(BodyNumber body);

  void end_commit();

  // Adds the epochs in which chunks lie to `needed`, which stays ascending.
  void add_epochs(std::vector<Epoch>& needed) const;

 private:
  struct Body {
    BodyId id = kInBlock;
    std::size_t octets = 0;  // so far
    std::vector<BodyRun> runs;
  };

  std::unordered_map<BodyNumber, Body> bodies_;  // as many as there are publishes under way
  std::vector<BodyNumber> released_;
};

}  // namespace harrier
