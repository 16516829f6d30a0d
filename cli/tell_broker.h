#pragma once

#include <functional>
#include <map>
#include <string>

#include "cli/commands.h"

namespace harrier {

// --data-dir, of every command that speaks to a running broker.
void add_data_dir(CLI::App& app, std::string& data_dir);

// What is told to a running broker, by name (broker/admin/admin_message.h): "command" and more.
using AdminFields = std::map<std::string, std::string>;

// Prints the JSON object that a broker answered with. May throw as nlohmann::json does: then the
// answer is told to make no sense.
using PrintAnswer = std::function<void(const std::string& answer)>;

// Sends `fields` to the broker that runs on `data_dir` and prints its answer, or why there is none.
// Returns the exit code.
int tell_broker(const std::string& data_dir, const AdminFields& fields, Terminal terminal,
                const PrintAnswer& print);

// Prints one line of JSON for each of the answer's "rows".
PrintAnswer print_rows(Terminal terminal);

}  // namespace harrier
