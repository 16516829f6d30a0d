#pragma once

#include <cstdint>
#include <vector>

#include "tests/scenario_runner/scenario.h"

namespace harrier::scenario {

// What the client says during the handshake: the words after `connect`, and defaults for the rest.
struct Login {
  std::vector<Option> start_ok;
  std::vector<Option> tune_ok;
  std::vector<Option> open;
  std::uint32_t frame_max = 0;
};

// Throws std::invalid_argument.
Login parse_login(const std::vector<Word>& words);

}  // namespace harrier::scenario
