#include "broker/core/redriven.h"

#include <algorithm>

#include "base/assert.h"
#include "protocol/properties.h"

namespace harrier {
namespace {

constexpr std::string_view kCount = "x-redriven-count";
constexpr std::string_view kHistory[] = {
    "x-death",
    "x-first-death-reason",
    "x-first-death-queue",
    "x-first-death-exchange",
    "x-last-death-reason",
    "x-last-death-queue",
    "x-last-death-exchange",
};

bool is_marked(const Message& message) {
  return has_mark(message.properties(), PropertyMark::own_deaths);
}

// Empty where there is none.
std::string_view text_of(const TableView& headers, std::string_view name) {
  const auto value = headers.find(name);
  return value ? as_string(*value).value_or("") : "";
}

}  // namespace

std::optional<Deaths> deaths_of(const Message& message) {
  if (!is_marked(message)) return std::nullopt;
  const std::optional<PropertiesView> view = parse_properties(message.properties());
  if (!view || !view->headers) return std::nullopt;
  return Deaths{std::string(text_of(*view->headers, "x-first-death-queue")),
                std::string(text_of(*view->headers, "x-last-death-queue"))};
}

bool matches(const RedriveFilter& filter, const Message& message) {
  const bool asks_deaths = !filter.reason.empty() || !filter.queue.empty();
  if (!asks_deaths && filter.headers.empty()) return true;
  if (asks_deaths && !is_marked(message)) return false;
  const std::optional<PropertiesView> view = parse_properties(message.properties());
  if (!view || !view->headers) return false;
  const TableView& headers = *view->headers;
  if (!filter.reason.empty() && text_of(headers, "x-last-death-reason") != filter.reason) {
    return false;
  }
  if (!filter.queue.empty() && text_of(headers, "x-first-death-queue") != filter.queue) {
    return false;
  }
  return std::ranges::all_of(filter.headers, [&headers](const auto& wanted) {
    const auto value = headers.find(wanted.first);
    return value && to_text(value->to_owned()) == wanted.second;
  });
}

MessageRef redriven_copy(const Message& message, std::string_view exchange,
                         std::string_view routing_key, History history) {
  std::optional<PropertiesView> view = parse_properties(message.properties());
  HARRIER_CHECK(view.has_value());
  FieldTable headers = view->headers ? view->headers->to_owned() : FieldTable();
  if (history == History::reset) {
    for (const std::string_view name : kHistory)
      headers.erase(name);
  }
  const Value* const before = headers.find(kCount);
  const std::int64_t count = before == nullptr ? 0 : as_integer(*before).value_or(0);
  headers.set(kCount, Value::int64(std::clamp<std::int64_t>(count, 0, INT32_MAX) + 1));
  headers.sort_by_key();

  Buffer fields;
  headers.encode_fields(fields);
  view->headers = TableView{fields.view()};
  Buffer properties;
  view->encode(properties);
  if (is_marked(message) && history == History::keep) {
    set_mark(properties, PropertyMark::own_deaths);
  }
  // It goes by this key alone, and will when it dies again.
  set_mark(properties, PropertyMark::spent_copies);

  MessageParts parts;
  parts.exchange = exchange;
  parts.routing_key = routing_key;
  parts.properties = properties.view();
  parts.persistent = message.persistent();
  parts.priority = message.priority();
  parts.ttl_ms = message.ttl_ms();
  return Message::create(parts, message.body());
}

}  // namespace harrier
