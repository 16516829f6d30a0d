#include "tests/scenario_runner/login.h"

#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "tests/scenario_runner/value_text.h"

namespace harrier::scenario {
namespace {

// user NUL password, the response of PLAIN.
Word plain_response(const Word& user, const Word& password) {
  const std::string nul(1, '\0');
  return to_language(Value::long_string(nul + unquote(user) + nul + unquote(password)));
}

// The client properties with the capabilities among them.
Word client_properties(const Word& properties, const Word& capabilities) {
  const Value whole = parse_value(properties);
  if (as_table(whole) == nullptr) throw std::invalid_argument("properties are a table");
  FieldTable table = *as_table(whole);
  table.set("capabilities", parse_value(capabilities));
  return to_language(table);
}

}  // namespace

Login parse_login(const std::vector<Word>& words) {
  std::map<std::string, Word, std::less<>> said = {
      {"user", "guest"},      {"password", "guest"},   {"vhost", "/"},
      {"mechanism", "PLAIN"}, {"response", ""},        {"locale", "en_US"},
      {"heartbeat", "0"},     {"frame-max", "131072"}, {"channel-max", "2047"},
      {"capabilities", "{}"}, {"properties", "{}"},
  };
  for (const Word& word : words) {
    const std::optional<Option> option = parse_option(word);
    const auto known = option ? said.find(option->name) : said.end();
    if (known == said.end()) throw std::invalid_argument("connect has no " + word);
    known->second = option->value;
  }
  if (said["response"].empty()) {
    said["response"] = plain_response(said["user"], said["password"]);
  }
  said["client-properties"] = client_properties(said["properties"], said["capabilities"]);
  said["virtual-host"] = said["vhost"];
  const auto pick = [&said](const std::vector<std::string>& names) {
    std::vector<Option> options;
    options.reserve(names.size());
    for (const std::string& name : names) {
      options.push_back({name, Option::Compare::equal, said[name]});
    }
    return options;
  };
  Login login;
  login.start_ok = pick({"client-properties", "mechanism", "response", "locale"});
  login.tune_ok = pick({"channel-max", "frame-max", "heartbeat"});
  login.open = pick({"virtual-host"});
  login.frame_max = static_cast<std::uint32_t>(std::stoul(said["frame-max"]));
  return login;
}

}  // namespace harrier::scenario
