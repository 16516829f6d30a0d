#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include "base/assert.h"
#include "broker/core/arguments.h"
#include "broker/core/exchange_types.h"
#include "broker/core/exchanges/destination_set.h"
#include "broker/core/name_hash.h"
#include "protocol/erlang_term.h"

namespace harrier {
namespace {

constexpr std::string_view kMatchKey = "x-match";

// How a binding's criteria combine. The plain forms skip criteria whose name starts with "x-".
enum class Match : std::uint8_t {
  all,
  any,
  all_with_x,
  any_with_x
};

std::optional<Match> match_from(std::string_view text) {
  if (text == "all") return Match::all;
  if (text == "any") return Match::any;
  if (text == "all-with-x") return Match::all_with_x;
  if (text == "any-with-x") return Match::any_with_x;
  return std::nullopt;
}

bool wants_any(Match match) {
  return match == Match::any || match == Match::any_with_x;
}

bool counts_x(Match match) {
  return match == Match::all_with_x || match == Match::any_with_x;
}

Match match_of(const FieldTable& arguments) {
  const Value* value = arguments.find(kMatchKey);
  const std::string* text = value == nullptr ? nullptr : as_string(*value);
  return text == nullptr ? Match::all : match_from(*text).value_or(Match::all);
}

// Appends octets that are equal for two values exactly when a headers exchange takes them as equal:
// integers and timestamps by value whatever their width, float and double alike (and never equal to
// an integer, as in RabbitMQ 4), text and binary alike, all else by type and octets.
void append_comparable(const ValueView& value, std::string& out) {
  const auto append_number = [&out](char kind, const auto& number) {
    out.push_back(kind);
    char octets[sizeof number];
    std::memcpy(octets, &number, sizeof number);
    out.append(octets, sizeof octets);
  };
  if (const std::optional<std::int64_t> integer = as_integer(value)) {
    append_number('i', *integer);
  } else if (const std::optional<std::uint64_t> seconds = as_timestamp(value)) {
    append_number(*seconds > INT64_MAX ? 'T' : 'i', *seconds);
  } else if (value.type == FieldType::float32 || value.type == FieldType::float64) {
    append_number('d', as_double(value.to_owned()).value_or(0) + 0.0);  // + 0.0: no negative zero
  } else if (const std::optional<bool> boolean = as_bool(value)) {
    out.append(*boolean ? "t1" : "t0");
  } else if (value.type == FieldType::long_string || value.type == FieldType::binary) {
    out.push_back('S');
    out.append(value.octets);
  } else {
    out.push_back(static_cast<char>(value.type));
    out.append(value.octets);
  }
}

// Bindings say which headers a message must have. AMQP 0-9-1 §3.1.3.4, x-match as in RabbitMQ.
//
// Bindings with equal arguments share one Rule. An `any` rule is filed under each of its criteria,
// an `all` rule under the one with the fewest rules so far; a message looks up its own headers, so
// rules that share nothing with it cost nothing.
class HeadersExchange final : public ExchangeType {
 public:
  Result<void, ProtocolError> validate_binding(const BindingDefinition& binding,
                                               Destination) const override {
    const Value* value = binding.arguments.find(kMatchKey);
    if (value == nullptr) return {};
    const std::string* text = as_string(*value);
    if (text == nullptr) {
      return fail(ProtocolError{ReplyCode::precondition_failed,
                                "Invalid x-match field type " + std::string(type_name(*value)) +
                                    " (value " + to_text(*value) + "); expected longstr"});
    }
    if (match_from(*text)) return {};
    return fail(ProtocolError{ReplyCode::precondition_failed,
                              "Invalid x-match field value " + erlang_binary(*text) +
                                  "; expected all, any, all-with-x, or any-with-x"});
  }

  void bind(const BindingDefinition& binding, Destination destination) override {
    const auto [place, is_new] = rules_.try_emplace(canonical_arguments(binding.arguments));
    if (is_new) {
      compile(binding.arguments, place->second);
      file(place->second);
    }
    place->second.destinations.add(destination);
  }

  void unbind(const BindingDefinition& binding, Destination destination) override {
    const auto found = rules_.find(canonical_arguments(binding.arguments));
    HARRIER_CHECK(found != rules_.end());
    Rule& rule = found->second;
    rule.destinations.remove(destination);
    if (!rule.destinations.empty()) return;
    unfile(rule);
    for (const Criterion& criterion : rule.criteria)
      release(criterion);
    rules_.erase(found);
  }

  void route(const RoutingInput& input, Destinations& out) const override {
    append_met(always_, out);
    if (headers_.empty()) return;
    note_facts(input.headers);
    for (const Fact& fact : facts_) {
      append_met(fact.header->present_rules, out);
      if (fact.is_void) continue;
      const auto found = fact.header->value_rules.find(comparable(fact));
      if (found != fact.header->value_rules.end()) append_met(found->second, out);
    }
  }

 private:
  struct Rule;
  using Rules = std::vector<Rule*>;

  // A header name that occurs in some criterion.
  struct Header {
    Rules present_rules;         // filed under "is there"
    NameMap<Rules> value_rules;  // filed under "has this value", by comparable octets
    std::size_t criteria = 0;    // of all rules
  };

  struct Criterion {
    std::string name;
    Header* header = nullptr;
    std::optional<std::string> comparable;  // absent: the header must be there, with any value
  };

  // A list a rule is in, and where.
  struct Filing {
    Rules* rules;
    std::size_t place;
  };

  struct Rule {
    bool any = false;
    std::vector<Criterion> criteria;
    std::vector<Filing> filings;
    DestinationSet destinations;
  };

  // A header of the message being routed whose name some criterion asks for. A void header is
  // there but equals nothing.
  struct Fact {
    const Header* header;
    bool is_void;
    std::size_t offset;  // of its comparable octets in comparable_
    std::size_t size;
  };

  void compile(const FieldTable& arguments, Rule& rule) {
    const Match match = match_of(arguments);
    rule.any = wants_any(match);
    Buffer octets;
    arguments.encode_fields(octets);
    for (const FieldView& field : TableView{octets.view()}) {
      if (field.key == kMatchKey) continue;
      if (field.key.starts_with("x-") && !counts_x(match)) continue;
      std::string name(field.key);
      Header& header = headers_[name];
      ++header.criteria;
      Criterion& criterion = rule.criteria.emplace_back();
      criterion.name = std::move(name);
      criterion.header = &header;
      if (field.value.type != FieldType::nothing) {
        append_comparable(field.value, criterion.comparable.emplace());
      }
    }
  }

  void file(Rule& rule) {
    if (rule.any) {
      for (const Criterion& criterion : rule.criteria)
        file(rule, rules_of(criterion));
      return;
    }
    Rules* rarest = &always_;
    for (const Criterion& criterion : rule.criteria) {
      Rules& rules = rules_of(criterion);
      if (rarest == &always_ || rules.size() < rarest->size()) rarest = &rules;
    }
    file(rule, *rarest);
  }

  static void file(Rule& rule, Rules& rules) {
    // Arguments may repeat a field.
    for (const Filing& filing : rule.filings) {
      if (filing.rules == &rules) return;
    }
    rule.filings.push_back({&rules, rules.size()});
    rules.push_back(&rule);
  }

  static Rules& rules_of(const Criterion& criterion) {
    if (!criterion.comparable) return criterion.header->present_rules;
    return criterion.header->value_rules[*criterion.comparable];
  }

  void unfile(Rule& rule) {
    for (const Filing& filing : rule.filings) {
      Rules& rules = *filing.rules;
      Rule* last = rules.back();
      rules[filing.place] = last;
      rules.pop_back();
      for (Filing& moved : last->filings) {
        if (moved.rules == &rules) moved.place = filing.place;
      }
    }
  }

  // Takes back what compile() and rules_of() created, unless others need it.
  void release(const Criterion& criterion) {
    Header& header = *criterion.header;
    if (criterion.comparable) {
      const auto found = header.value_rules.find(*criterion.comparable);
      if (found != header.value_rules.end() && found->second.empty()) {
        header.value_rules.erase(found);
      }
    }
    if (--header.criteria == 0) headers_.erase(headers_.find(criterion.name));
  }

  void note_facts(const TableView& headers) const {
    facts_.clear();
    comparable_.clear();
    for (const FieldView& field : headers) {
      const auto found = headers_.find(field.key);
      if (found == headers_.end()) continue;
      const std::size_t offset = comparable_.size();
      append_comparable(field.value, comparable_);
      facts_.push_back({&found->second, field.value.type == FieldType::nothing, offset,
                        comparable_.size() - offset});
    }
  }

  void append_met(const Rules& rules, Destinations& out) const {
    for (const Rule* rule : rules) {
      if (rule->any || is_met(*rule)) rule->destinations.append_to(out);
    }
  }

  bool is_met(const Rule& rule) const {
    return std::all_of(rule.criteria.begin(), rule.criteria.end(),
                       [this](const Criterion& criterion) { return is_met(criterion); });
  }

  bool is_met(const Criterion& criterion) const {
    return std::any_of(facts_.begin(), facts_.end(), [&](const Fact& fact) {
      if (fact.header != criterion.header) return false;
      if (!criterion.comparable) return true;
      return !fact.is_void && comparable(fact) == *criterion.comparable;
    });
  }

  std::string_view comparable(const Fact& fact) const {
    return std::string_view(comparable_).substr(fact.offset, fact.size);
  }

  NameMap<Rule> rules_;      // by canonical arguments
  NameMap<Header> headers_;  // by name
  Rules always_;             // `all` without criteria

  // Scratch of route(), on the one shard that owns the exchange.
  mutable std::vector<Fact> facts_;
  mutable std::string comparable_;
};

}  // namespace

std::unique_ptr<ExchangeType> make_headers_exchange(const ExchangeDefinition&) {
  return std::make_unique<HeadersExchange>();
}

}  // namespace harrier
