// Exchange types that send a message to one of their destinations: by hash, or by chance.

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "broker/core/exchange_types.h"
#include "broker/core/exchanges/stable_hash.h"
#include "protocol/properties.h"
#include "tests/unit/core/core_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

using Counts = std::map<std::string, int>;
using Weights = std::vector<std::pair<std::string, std::string>>;

struct OneExchange : test::Broker {
  explicit OneExchange(std::string_view type, FieldTable arguments = {}) {
    verdict = declare(an_exchange("x", type, std::move(arguments)));
  }

  OneExchange(std::string_view type, const Weights& bindings) : OneExchange(type) {
    for (const auto& [queue, key] : bindings)
      bind_queue(queue, key);
  }

  std::string bind_queue(std::string_view name, std::string_view key) {
    declare(a_queue(name));
    return bind(to_queue("x", name, key));
  }

  std::string queue_of(std::string_view key) {
    const Names names = route("x", key);
    REQUIRE(names.size() == 1);
    return names.front();
  }

  std::string queue_of(const PropertiesView& properties) {
    const std::string_view keys[] = {"same"};
    vhost.route(*vhost.find_exchange("x"), {keys, TableView{}, &properties}, routed);
    REQUIRE(routed.size() == 1);
    return routed.front()->name();
  }

  Names queues_of(int keys) {
    Names names;
    for (int key = 0; key < keys; ++key)
      names.push_back(queue_of("key-" + std::to_string(key)));
    return names;
  }

  std::string verdict;
};

Counts count(const Names& names) {
  Counts counts;
  for (const std::string& name : names)
    ++counts[name];
  return counts;
}

int differences(const Names& a, const Names& b) {
  int found = 0;
  for (std::size_t at = 0; at < a.size(); ++at)
    found += a[at] == b[at] ? 0 : 1;
  return found;
}

Weights equal_weights(int queues) {
  Weights weights;
  for (int queue = 0; queue < queues; ++queue)
    weights.emplace_back("q" + std::to_string(queue), "1");
  return weights;
}

}  // namespace

TEST_SUITE("hashing exchange types") {
  TEST_CASE("the hash never changes: mappings outlive the program") {
    CHECK(stable_hash("") == 0xf52a15e9a9b5e89bULL);
    CHECK(stable_hash("key-1") == 0x3803edeb4f445d66ULL);
    CHECK(stable_mix(1) == 0x5692161d100b05e5ULL);
  }

  TEST_CASE("x-consistent-hash sends every message to one queue, equal shares for equal weights") {
    OneExchange broker("x-consistent-hash", equal_weights(10));
    const Counts counts = count(broker.queues_of(20'000));
    REQUIRE(counts.size() == 10);
    for (const auto& share : counts) {
      CAPTURE(share.first);
      CHECK(std::abs(share.second - 2000) < 240);
    }
  }

  TEST_CASE("x-consistent-hash shares by weight") {
    OneExchange broker("x-consistent-hash", {{"light", "1"}, {"middle", "3"}, {"heavy", "+6"}});
    Counts counts = count(broker.queues_of(20'000));
    CHECK(std::abs(counts["light"] - 2000) < 240);
    CHECK(std::abs(counts["middle"] - 6000) < 480);
    CHECK(std::abs(counts["heavy"] - 12'000) < 480);
  }

  TEST_CASE(
      "x-consistent-hash maps the same way whatever the order of binding, and after changes") {
    OneExchange one("x-consistent-hash", {{"a", "1"}, {"b", "5"}, {"c", "2"}, {"d", "9"}});
    OneExchange two("x-consistent-hash", {{"d", "9"}, {"gone", "7"}, {"c", "2"}, {"b", "5"}});
    two.bind_queue("a", "1");
    two.unbind(to_queue("x", "gone", "7"));
    CHECK(differences(one.queues_of(2000), two.queues_of(2000)) == 0);
  }

  TEST_CASE("x-consistent-hash moves only what the new queue gets, and back when it goes") {
    OneExchange broker("x-consistent-hash", equal_weights(9));
    const Names before = broker.queues_of(5000);
    broker.bind_queue("new", "1");
    const Names with_new = broker.queues_of(5000);
    CHECK(differences(before, with_new) == count(with_new)["new"]);
    CHECK(count(with_new)["new"] > 300);
    CHECK(count(with_new)["new"] < 700);
    broker.unbind(to_queue("x", "new", "1"));
    CHECK(differences(before, broker.queues_of(5000)) == 0);
  }

  TEST_CASE("x-consistent-hash counts the heaviest binding of a queue") {
    OneExchange plain("x-consistent-hash", {{"a", "1"}, {"b", "3"}});
    OneExchange twice("x-consistent-hash", {{"b", "2"}, {"a", "1"}, {"b", "3"}, {"b", "1"}});
    const Names wanted = plain.queues_of(2000);
    CHECK(differences(wanted, twice.queues_of(2000)) == 0);
    twice.unbind(to_queue("x", "b", "1"));
    CHECK(differences(wanted, twice.queues_of(2000)) == 0);
    twice.unbind(to_queue("x", "b", "3"));
    OneExchange lighter("x-consistent-hash", {{"a", "1"}, {"b", "2"}});
    CHECK(differences(lighter.queues_of(2000), twice.queues_of(2000)) == 0);
    twice.unbind(to_queue("x", "b", "2"));
    CHECK(count(twice.queues_of(100)) == Counts{{"a", 100}});
    twice.unbind(to_queue("x", "a", "1"));
    CHECK(twice.route("x", "key-1") == Names{});
  }

  TEST_CASE("x-consistent-hash looks at a header if told so; a missing one is empty text") {
    OneExchange broker("x-consistent-hash", table({{"hash-header", text("user")}}));
    for (const auto& [queue, weight] : equal_weights(8))
      broker.bind_queue(queue, weight);
    Names queues;
    for (int user = 0; user < 100; ++user) {
      const FieldTable headers = table({{"user", number(user)}});
      const Names first = broker.route("x", "one", headers);
      CHECK(first == broker.route("x", "another", headers));
      queues.push_back(first.front());
    }
    CHECK(count(queues).size() == 8);
    const Names empty = broker.route("x", "one", table({{"user", text("")}}));
    CHECK(broker.route("x", "two") == empty);
    CHECK(broker.route("x", "three", table({{"other", text("v")}})) == empty);
  }

  TEST_CASE("x-consistent-hash looks at a property if told so") {
    struct Row {
      std::string name;
      void (*set)(PropertiesView&, const std::string&, int);
    };

    const Row rows[] = {
        {"correlation_id",
         [](PropertiesView& to, const std::string& value, int) { to.correlation_id = value; }},
        {"message_id",
         [](PropertiesView& to, const std::string& value, int) { to.message_id = value; }},
        {"timestamp", [](PropertiesView& to, const std::string&,
                         int value) { to.timestamp = static_cast<std::uint64_t>(value); }},
    };
    for (const Row& row : rows) {
      CAPTURE(row.name);
      OneExchange broker("x-consistent-hash", table({{"hash-property", text(row.name)}}));
      for (const auto& [queue, weight] : equal_weights(8))
        broker.bind_queue(queue, weight);
      Names queues;
      for (int number = 0; number < 100; ++number) {
        const std::string value = "id-" + std::to_string(number);
        PropertiesView properties;
        row.set(properties, value, number);
        queues.push_back(broker.queue_of(properties));
        CHECK(broker.queue_of(properties) == queues.back());
      }
      CHECK(count(queues).size() == 8);
      CHECK(broker.route("x", "no properties").size() == 1);
    }
  }

  TEST_CASE("x-consistent-hash refuses keys that are no weight") {
    OneExchange broker("x-consistent-hash");
    const std::string no_integer = "PRECONDITION_FAILED - The binding key must be an integer: ";
    CHECK(broker.bind_queue("q", "k") == no_integer + "<<\"k\">>");
    CHECK(broker.bind_queue("q", "") == no_integer + "<<>>");
    CHECK(broker.bind_queue("q", "1.5") == no_integer + "<<\"1.5\">>");
    CHECK(broker.bind_queue("q", "+-1") == no_integer + "<<\"+-1\">>");
    const std::string too_small = "PRECONDITION_FAILED - The binding key must be greater than 0";
    CHECK(broker.bind_queue("q", "0") == too_small);
    CHECK(broker.bind_queue("q", "-99999999999999999999") == too_small);
    const std::string too_large = "PRECONDITION_FAILED - The binding key must not exceed 1000000";
    CHECK(broker.bind_queue("q", "1000001") == too_large);
    CHECK(broker.bind_queue("q", "99999999999999999999") == too_large);
    CHECK(broker.bind_queue("q", "1000000") == "ok");
  }

  TEST_CASE("x-consistent-hash refuses arguments that say nothing or too much") {
    CHECK(OneExchange("x-consistent-hash", table({{"hash-property", text("app_id")}})).verdict ==
          "PRECONDITION_FAILED - Unsupported property: app_id");
    CHECK(OneExchange("x-consistent-hash",
                      table({{"hash-property", text("app_id")}, {"hash-header", text("h")}}))
              .verdict ==
          "PRECONDITION_FAILED - hash-header and hash-property are mutually exclusive");
  }

  TEST_CASE("x-modulus-hash sends by all routing keys, whatever the binding keys and their order") {
    OneExchange one("x-modulus-hash", {{"a", "k"}, {"b", ""}, {"c", "7"}});
    OneExchange two("x-modulus-hash", {{"c", ""}, {"b", "l"}, {"b", "m"}, {"a", ""}});
    const Names queues = one.queues_of(3000);
    CHECK(differences(queues, two.queues_of(3000)) == 0);
    const Counts counts = count(queues);
    REQUIRE(counts.size() == 3);
    for (const auto& [queue, messages] : counts)
      CHECK(std::abs(messages - 1000) < 150);
    Names by_second_key;
    for (int key = 0; key < 100; ++key) {
      by_second_key.push_back(one.route_keys("x", {"same", std::to_string(key)}).front());
    }
    CHECK(count(by_second_key).size() == 3);
    two.unbind(to_queue("x", "b", "l"));
    CHECK(differences(queues, two.queues_of(3000)) == 0);
    two.unbind(to_queue("x", "b", "m"));
    CHECK(count(two.queues_of(100)).size() == 2);
  }

  TEST_CASE("x-random and x-local-random give each message to one queue, all alike") {
    for (const std::string type : {"x-random", "x-local-random"}) {
      CAPTURE(type);
      OneExchange broker(type, {{"a", ""}, {"b", ""}, {"c", ""}, {"d", ""}});
      Names queues;
      for (int message = 0; message < 8000; ++message)
        queues.push_back(broker.queue_of("k"));
      const Counts counts = count(queues);
      REQUIRE(counts.size() == 4);
      for (const auto& [queue, messages] : counts)
        CHECK(std::abs(messages - 2000) < 300);  // more than seven standard deviations
    }
  }

  TEST_CASE("x-random ignores binding keys, x-local-random refuses them and what is not classic") {
    OneExchange any("x-random");
    CHECK(any.bind_queue("q", "k") == "ok");
    CHECK(any.queue_of("other") == "q");
    OneExchange local("x-local-random");
    CHECK(local.bind_queue("q", "k") ==
          "PRECONDITION_FAILED - Non empty binding 'k' key not permitted");
    QueueDefinition quorum = a_queue("quorum", table({{"x-queue-type", text("quorum")}}));
    quorum.durable = true;
    CHECK(local.declare(quorum) == "ok");
    CHECK(local.bind(to_queue("x", "quorum")) ==
          "PRECONDITION_FAILED - Queue type quorum not valid for this exchange type");
    local.declare(an_exchange("y", "fanout"));
    CHECK(local.bind(to_exchange("x", "y")) == "PRECONDITION_FAILED - Destination not found");
    CHECK(local.route("x", "") == Names{});
  }
}
