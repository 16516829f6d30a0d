#include "broker/core/definition_records.h"

#include <set>

#include <doctest/doctest.h>

#include "tests/unit/core/core_fixture.h"

using namespace harrier;
using namespace harrier::test;
using namespace std::string_literals;

namespace {

FieldTable arguments_of_every_type() {
  return table({{"t", Value::boolean(true)},
                {"b", Value::integer(FieldType::int8, -1)},
                {"i", Value::integer(FieldType::uint32, 7)},
                {"l", Value::int64(INT64_MIN)},
                {"d", Value::float64(1.5)},
                {"D", Value::decimal({2, 314})},
                {"S", text("octets\0\xFF"s)},
                {"T", Value::timestamp(UINT64_MAX)},
                {"F", Value::table(table({{"n", Value::nothing()}}))},
                {"A", array({number(1), text("x")})},
                {"x", Value::binary("y")},
                {"a", number(1)}});
}

ExchangeDefinition some_exchange() {
  ExchangeDefinition definition = an_exchange("ex\0ch"s, "topic", arguments_of_every_type());
  definition.durable = true;
  definition.internal = true;
  return definition;
}

QueueDefinition some_queue() {
  QueueDefinition definition = a_queue("'q\n", arguments_of_every_type());
  definition.durable = true;
  definition.auto_delete = true;
  definition.id = QueueId{0x0102030405060708};
  definition.lane = LaneId{0xFFFFFFFF};
  definition.delay_lane = LaneId{0x01020304};
  definition.owner = ConnectionId{9};
  definition.home = 3;
  return definition;
}

BindingDefinition some_binding() {
  BindingDefinition definition = to_exchange("from", "to", "a.#");
  definition.arguments = arguments_of_every_type();
  return definition;
}

// Every prefix, every value with an octet more, and every change of an octet: decoding may find the
// result valid, but must survive it.
template <class Decode>
void maul(const std::string& key, const std::string& value, Decode decode) {
  for (std::size_t size = 0; size < value.size(); ++size) {
    CHECK_FALSE(decode(key, std::string_view(value).substr(0, size)));
  }
  for (std::size_t size = 0; size < key.size(); ++size) {
    CHECK_FALSE(decode(std::string_view(key).substr(0, size), value));
  }
  CHECK_FALSE(decode(key, value + '\0'));
  CHECK_FALSE(decode(key + '\0', value));
  CHECK_FALSE(decode(value, key));
  for (std::size_t at = 0; at < value.size(); ++at) {
    for (const char octet : {'\0', '\x7F', '\xFF'}) {
      std::string changed = value;
      changed[at] = octet;
      (void)decode(key, changed);
    }
  }
  for (std::size_t at = 0; at < key.size(); ++at) {
    std::string changed = key;
    changed[at] = '\xFF';
    (void)decode(changed, value);
  }
}

}  // namespace

TEST_SUITE("definition records") {
  TEST_CASE("a virtual host comes back") {
    const std::string key = vhost_record_key("v\0h"s);
    const auto decoded = decode_vhost_record(key, vhost_record({"v\0h"s}));
    REQUIRE(decoded);
    CHECK(decoded->name == "v\0h"s);
    maul(key, vhost_record({"v\0h"s}), decode_vhost_record);
  }

  TEST_CASE("a virtual host comes back with its default queue type") {
    const std::string key = vhost_record_key("/");
    const auto decoded = decode_vhost_record(key, vhost_record({"/", "quorum"}));
    REQUIRE(decoded);
    CHECK(decoded->default_queue_type == "quorum");
    CHECK_FALSE(decode_vhost_record(key, vhost_record({"/", "quorum"}) + "x"));
    CHECK(decode_vhost_record(key, vhost_record({"/"}))->default_queue_type.empty());
  }

  TEST_CASE("a policy comes back, as what it was") {
    const PolicyDefinition written{"p'\n", std::string(300, '.'), "quorum_queues", -5,
                                   arguments_of_every_type()};
    for (const PolicyKind kind : {PolicyKind::user, PolicyKind::operators}) {
      const auto decode = [kind](std::string_view key, std::string_view value) {
        return decode_policy_record(kind, key, value);
      };
      const std::string key = policy_record_key(kind, "/", written.name);
      const auto decoded = decode(key, policy_record(written));
      REQUIRE(decoded);
      CHECK(decoded->vhost == "/");
      const PolicyDefinition& read = decoded->definition;
      CHECK(read.name == written.name);
      CHECK(read.pattern == written.pattern);
      CHECK(read.apply_to == written.apply_to);
      CHECK(read.priority == -5);
      CHECK(read.definition == written.definition);
      const PolicyKind other = kind == PolicyKind::user ? PolicyKind::operators : PolicyKind::user;
      CHECK_FALSE(decode_policy_record(other, key, policy_record(written)));
      maul(key, policy_record(written), decode);
    }
  }

  TEST_CASE("a limit comes back, as that of a virtual host or of a user") {
    for (const LimitScope scope : {LimitScope::vhost, LimitScope::user}) {
      const LimitDefinition written{scope, "s", "max-connections", INT64_MIN};
      const auto decode = [scope](std::string_view key, std::string_view value) {
        return decode_limit_record(scope, key, value);
      };
      const auto decoded = decode(limit_record_key(written), limit_record(written));
      REQUIRE(decoded);
      CHECK(decoded->scope == scope);
      CHECK(decoded->subject == "s");
      CHECK(decoded->name == "max-connections");
      CHECK(decoded->value == INT64_MIN);
      maul(limit_record_key(written), limit_record(written), decode);
    }
  }

  TEST_CASE("a parameter comes back, global or not") {
    const ParameterDefinition local{"/", "shovel", "s", std::string(70'000, '1')};
    const ParameterDefinition global{"", "", "cluster_name", "\"here\""};
    for (const ParameterDefinition& written : {local, global}) {
      const std::string key = parameter_record_key(written);
      const auto decoded = decode_parameter_record(key, parameter_record(written));
      REQUIRE(decoded);
      CHECK(decoded->vhost == written.vhost);
      CHECK(decoded->component == written.component);
      CHECK(decoded->name == written.name);
      CHECK(decoded->value == written.value);
    }
    maul(parameter_record_key(global), parameter_record(global), decode_parameter_record);
  }

  TEST_CASE("an exchange comes back with the wire types of its arguments") {
    const ExchangeDefinition written = some_exchange();
    const std::string key = exchange_record_key("/", written.name);
    const auto decoded = decode_exchange_record(key, exchange_record(written));
    REQUIRE(decoded);
    CHECK(decoded->vhost == "/");
    const ExchangeDefinition& read = decoded->definition;
    CHECK(read.name == written.name);
    CHECK(read.type == "topic");
    CHECK(read.durable);
    CHECK_FALSE(read.auto_delete);
    CHECK(read.internal);
    CHECK(read.arguments == written.arguments);
    maul(key, exchange_record(written), decode_exchange_record);
  }

  TEST_CASE("a queue comes back with its id and lane, without owner and home") {
    const QueueDefinition written = some_queue();
    const std::string key = queue_record_key("/", written.name);
    const auto decoded = decode_queue_record(key, queue_record(written));
    REQUIRE(decoded);
    const QueueDefinition& read = decoded->definition;
    CHECK(decoded->vhost == "/");
    CHECK(read.vhost == "/");
    CHECK(read.name == written.name);
    CHECK(read.durable);
    CHECK_FALSE(read.exclusive);
    CHECK(read.auto_delete);
    CHECK(read.id == written.id);
    CHECK(read.lane == written.lane);
    CHECK(read.delay_lane == written.delay_lane);
    CHECK(read.owner == ConnectionId{});
    CHECK(read.home == 0);
    CHECK(read.arguments == written.arguments);
    maul(key, queue_record(written), decode_queue_record);
  }

  TEST_CASE("a queue recorded before queues had a lane of delayed messages has none") {
    QueueDefinition written = some_queue();
    written.delay_lane = LaneId{};
    const std::string key = queue_record_key("/", written.name);
    const auto decoded = decode_queue_record(key, queue_record(written));
    REQUIRE(decoded);
    CHECK(decoded->definition.lane == written.lane);
    CHECK(decoded->definition.delay_lane == LaneId{});
    CHECK(queue_record(written).size() + 4 == queue_record(some_queue()).size());
  }

  TEST_CASE("a binding comes back with its arguments in their order") {
    const BindingDefinition written = some_binding();
    const std::string key = binding_record_key("/", written);
    const auto decoded = decode_binding_record(key, binding_record(written));
    REQUIRE(decoded);
    CHECK(decoded->vhost == "/");
    const BindingDefinition& read = decoded->definition;
    CHECK(read.source == "from");
    CHECK(read.destination == "to");
    CHECK(read.destination_kind == DestinationKind::exchange);
    CHECK(read.routing_key == "a.#");
    CHECK(read.arguments == written.arguments);
    maul(key, binding_record(written), decode_binding_record);
  }

  TEST_CASE("the next lane comes back") {
    const std::string record = next_lane_record(LaneId{77});
    CHECK(decode_next_lane_record(next_lane_record_key(), record) == LaneId{77});
    maul(next_lane_record_key(), record, decode_next_lane_record);
  }

  TEST_CASE("a queue record is laid out as documented") {
    QueueDefinition definition = a_queue("q");
    definition.durable = true;
    definition.id = QueueId{0x0102030405060708};
    definition.lane = LaneId{9};
    CHECK(queue_record_key("/", "q") == "q\0\1/\0\1q"s);
    CHECK(queue_record(definition) == "\1\1\1\2\3\4\5\6\7\x08\0\0\0\x09\0\0\0\0"s);
  }

  TEST_CASE("a newer version is not understood") {
    std::string record = exchange_record(an_exchange("x", "direct"));
    const std::string key = exchange_record_key("/", "x");
    REQUIRE(decode_exchange_record(key, record));
    record[0] = 2;
    CHECK_FALSE(decode_exchange_record(key, record));
  }

  TEST_CASE("no two names share a key, whatever their octets") {
    const std::string names[] = {"", "a", "ab", "b", "a\0"s, "\0a"s, "\0\1a"s, "a\0\1b"s};
    std::set<std::string> keys;
    std::size_t made = 0;
    for (const std::string& vhost : names) {
      for (const std::string& name : names) {
        keys.insert(exchange_record_key(vhost, name));
        keys.insert(queue_record_key(vhost, name));
        made += 2;
        for (const std::string& key : names) {
          keys.insert(binding_record_key(vhost, to_queue(name, "q", key)));
          keys.insert(binding_record_key(vhost, to_queue("x", name, key)));
          keys.insert(binding_record_key(vhost, to_exchange("x", name, key)));
          made += 3;
        }
      }
    }
    CHECK(keys.size() == made);
  }

  TEST_CASE("bindings that differ in arguments or types have keys of their own") {
    const auto key = [](FieldTable arguments) {
      return binding_record_key("/", to_queue("x", "q", "k", std::move(arguments)));
    };
    CHECK(key({}) != key(table({{"a", number(1)}})));
    CHECK(key(table({{"a", Value::int64(1)}})) != key(table({{"a", number(1)}})));
    CHECK(key(table({{"a", number(1)}, {"b", number(2)}})) ==
          key(table({{"b", number(2)}, {"a", number(1)}})));
  }

  TEST_CASE("records of one kind are neighbours") {
    CHECK(vhost_record_key("v").starts_with(kVhostRecords));
    CHECK(exchange_record_key("v", "x").starts_with(kExchangeRecords));
    CHECK(queue_record_key("v", "q").starts_with(kQueueRecords));
    CHECK(binding_record_key("v", to_queue("x", "q")).starts_with(kBindingRecords));
  }
}
