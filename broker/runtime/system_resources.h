#pragma once

#include <cstdint>

namespace harrier {

// What the operating system says, in octets. Linux; a file that cannot be read counts as no limit
// or nothing used.

// Memory this process may use: the machine's, or less if its control group is limited.
std::uint64_t memory_available_to_us();

// Memory this process has in use (resident, without what it only maps from files).
std::uint64_t memory_used_by_us();

// Gives freed memory back to the system. Some milliseconds.
void give_back_freed_memory();

}  // namespace harrier
