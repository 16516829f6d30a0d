#pragma once

#include <string>
#include <string_view>

#include "broker/config/config.h"

namespace harrier {

// How the keys about memory and disk are read and shown (rows of the table in config_keys.cc). A
// setter answers whether the text was one of the values the row describes.

bool set_memory_relative(Config& config, std::string_view value);
bool set_memory_absolute(Config& config, std::string_view value);
bool set_paging_ratio(Config& config, std::string_view value);
bool set_total_memory(Config& config, std::string_view value);
bool set_disk_relative(Config& config, std::string_view value);
bool set_disk_absolute(Config& config, std::string_view value);
std::string show_memory_relative(const Config& config);
std::string show_memory_absolute(const Config& config);
std::string show_paging_ratio(const Config& config);
std::string show_total_memory(const Config& config);
std::string show_disk_relative(const Config& config);
std::string show_disk_absolute(const Config& config);

}  // namespace harrier
