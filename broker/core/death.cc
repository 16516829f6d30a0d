#include "broker/core/death.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "broker/core/routing_keys.h"
#include "protocol/delay_headers.h"
#include "protocol/properties.h"

namespace harrier {
namespace {

constexpr std::string_view kDeaths = "x-death";

std::string prefixed(std::string_view prefix, std::string_view what) {
  return std::string(prefix).append(what);
}

// x-first-death-* or x-last-death-*.
void set_summary(std::string_view prefix, const Message& message, const Death& death,
                 FieldTable& headers) {
  headers.set(prefixed(prefix, "reason"), Value::long_string(death_reason_name(death.reason)));
  headers.set(prefixed(prefix, "queue"), Value::long_string(death.queue));
  headers.set(prefixed(prefix, "exchange"), Value::long_string(message.exchange()));
}

bool is_about(const Value& entry, const Death& death) {
  const FieldTable* table = as_table(entry);
  if (table == nullptr) return false;
  const Value* queue = table->find("queue");
  const Value* reason = table->find("reason");
  return queue != nullptr && reason != nullptr && *queue == Value::long_string(death.queue) &&
         *reason == Value::long_string(death_reason_name(death.reason));
}

FieldArray routing_keys_of(const Message& message, const FieldTable& headers) {
  FieldArray keys;
  keys.values.push_back(Value::long_string(message.routing_key()));
  const Value* cc = headers.find("CC");
  const FieldArray* more = cc == nullptr ? nullptr : as_array(*cc);
  if (more == nullptr) return keys;
  for (const Value& key : more->values) {
    if (as_string(key) != nullptr) keys.values.push_back(key);
  }
  return keys;
}

FieldTable new_entry(const Message& message, const Death& death, const FieldTable& headers,
                     const std::optional<std::string_view>& expiration) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(death.at).time_since_epoch();
  FieldTable entry;
  entry.append("count", Value::int64(1));
  entry.append("reason", Value::long_string(death_reason_name(death.reason)));
  entry.append("queue", Value::long_string(death.queue));
  entry.append("time", Value::timestamp(static_cast<std::uint64_t>(seconds.count())));
  entry.append("exchange", Value::long_string(message.exchange()));
  entry.append("routing-keys", Value::array(routing_keys_of(message, headers)));
  if (expiration) entry.append("original-expiration", Value::long_string(*expiration));
  return entry;
}

// The history with `death` in front: the entry of the same queue and reason counts one more and
// keeps what it says of its first time.
FieldArray longer_history(FieldArray history, FieldTable entry, const Death& death) {
  std::vector<Value>& deaths = history.values;
  const auto known = std::find_if(deaths.begin(), deaths.end(),
                                  [&](const Value& one) { return is_about(one, death); });
  if (known != deaths.end()) {
    entry = *as_table(*known);
    const Value* count = entry.find("count");
    const std::int64_t times = count == nullptr ? 0 : as_integer(*count).value_or(0);
    entry.set("count", Value::int64(times + 1));
    deaths.erase(known);
  }
  deaths.insert(deaths.begin(), Value::table(std::move(entry)));
  return history;
}

// Whether `visit(reason, queue)` is true for a death of the history; looks at them from the latest
// on until it is.
template <class Visit>
bool any_death(const Message& message, Visit visit) {
  const std::optional<PropertiesView> view = parse_properties(message.properties());
  if (!view || !view->headers) return false;
  const std::optional<ValueView> value = view->headers->find(kDeaths);
  const std::optional<ArrayView> deaths = value ? as_array(*value) : std::nullopt;
  if (!deaths) return false;
  const auto text_of = [](const TableView& entry, std::string_view key) {
    const std::optional<ValueView> found = entry.find(key);
    return found ? as_string(*found).value_or(std::string_view()) : std::string_view();
  };
  for (const ValueView& death : *deaths) {
    const std::optional<TableView> entry = as_table(death);
    if (entry && visit(text_of(*entry, "reason"), text_of(*entry, "queue"))) return true;
  }
  return false;
}

}  // namespace

std::string_view death_reason_name(DeathReason reason) {
  switch (reason) {
    case DeathReason::rejected:
      return "rejected";
    case DeathReason::expired:
      return "expired";
    case DeathReason::maxlen:
      return "maxlen";
    case DeathReason::delivery_limit:
      return "delivery_limit";
    case DeathReason::due:
      return "due";
  }
  return "";
}

MessageRef dead_copy(const Message& message, const Death& death, const DeadLetterTarget& target) {
  std::optional<PropertiesView> view = parse_properties(message.properties());
  HARRIER_CHECK(view.has_value());
  FieldTable headers = view->headers ? view->headers->to_owned() : FieldTable();
  const bool died_before = has_mark(message.properties(), PropertyMark::own_deaths);
  FieldArray history;
  if (const Value* deaths = headers.find(kDeaths); died_before && deaths != nullptr) {
    if (const FieldArray* array = as_array(*deaths)) history = *array;
  }
  FieldTable entry = new_entry(message, death, headers, view->expiration);
  history = longer_history(std::move(history), std::move(entry), death);
  headers.set(kDeaths, Value::array(std::move(history)));
  if (!died_before) set_summary("x-first-death-", message, death, headers);
  set_summary("x-last-death-", message, death, headers);
  headers.sort_by_key();

  Buffer fields;
  headers.encode_fields(fields);
  view->headers = TableView{fields.view()};
  view->expiration.reset();
  Buffer properties;
  view->encode(properties);
  set_mark(properties, PropertyMark::own_deaths);
  if (target.routing_key || has_mark(message.properties(), PropertyMark::spent_copies)) {
    set_mark(properties, PropertyMark::spent_copies);
  }

  MessageParts parts;
  parts.exchange = target.exchange;
  parts.routing_key =
      target.routing_key ? std::string_view(*target.routing_key) : message.routing_key();
  parts.properties = properties.view();
  parts.persistent = message.persistent();
  parts.priority = message.priority();
  return Message::create(parts, message.body());
}

MessageRef due_copy(const Message& message) {
  const std::optional<PropertiesView> view = parse_properties(message.properties());
  HARRIER_CHECK(view.has_value());
  FieldTable headers = view->headers ? view->headers->to_owned() : FieldTable();
  if (view->headers) {
    const std::int64_t delay = read_exchange_delay(*view->headers).count();
    const bool fits = delay <= std::numeric_limits<std::int32_t>::max();
    if (delay > 0) {
      headers.set("x-delay",
                  fits ? Value::int32(-static_cast<std::int32_t>(delay)) : Value::int64(-delay));
    }
  }
  Buffer properties = with_headers(message.properties(), headers);
  for (const PropertyMark mark : {PropertyMark::spent_copies, PropertyMark::own_deaths}) {
    if (has_mark(message.properties(), mark)) set_mark(properties, mark);
  }
  MessageParts parts;
  parts.exchange = message.exchange();
  parts.routing_key = message.routing_key();
  parts.properties = properties.view();
  parts.persistent = message.persistent();
  parts.priority = message.priority();
  parts.ttl_ms = message.ttl_ms();
  return Message::create(parts, message.body());
}

bool died_in(const Message& message, std::string_view queue) {
  const ByteView properties = message.properties();  // those of the broker's own may be empty
  if (properties.empty() || !has_mark(properties, PropertyMark::own_deaths)) return false;
  return any_death(message,
                   [queue](std::string_view, std::string_view where) { return where == queue; });
}

bool runs_in_circles(const Message& dead_copy, std::string_view queue) {
  bool died_here = false;
  any_death(dead_copy, [&](std::string_view reason, std::string_view where) {
    died_here = reason != "rejected" && where == queue;
    return died_here || reason == "rejected";
  });
  return died_here;
}

}  // namespace harrier
