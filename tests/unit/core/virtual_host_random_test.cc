#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>

#include <doctest/doctest.h>

#include "tests/unit/core/core_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

// Bindings and exchanges as sets, with every rule in its plainest form: what VirtualHost must agree
// with. Exchanges are fanout or direct.
struct Model {
  struct Edge {
    std::string source, destination, key;
    bool to_queue;

    auto tie() const { return std::tie(source, destination, key, to_queue); }

    bool operator<(const Edge& other) const { return tie() < other.tie(); }
  };

  struct Node {
    bool fanout = false;
    bool auto_delete = false;
    std::string alternate;
  };

  std::map<std::string, Node> exchanges;
  std::set<std::string> queues;
  std::set<Edge> edges;

  bool erase(const Edge& edge) {
    if (edges.erase(edge) == 0) return false;
    const bool last = std::none_of(edges.begin(), edges.end(), [&edge](const Edge& other) {
      return other.source == edge.source;
    });
    const auto source = exchanges.find(edge.source);
    if (last && source != exchanges.end() && source->second.auto_delete)
      erase_exchange(edge.source);
    return true;
  }

  void erase_exchange(const std::string& name) {
    if (exchanges.erase(name) == 0) return;
    erase_edges([&name](const Edge& edge) {
      return edge.source == name || (!edge.to_queue && edge.destination == name);
    });
  }

  void erase_queue(const std::string& name) {
    queues.erase(name);
    erase_edges([&name](const Edge& edge) { return edge.to_queue && edge.destination == name; });
  }

  template <class Doomed>
  void erase_edges(Doomed doomed) {
    for (;;) {
      const auto found = std::find_if(edges.begin(), edges.end(), doomed);
      if (found == edges.end()) return;
      erase(Edge(*found));
    }
  }

  Names route(const std::string& exchange, const std::string& key) const {
    std::set<std::string> asked;
    std::set<std::string> reached;
    ask(exchange, key, asked, reached);
    return Names(reached.begin(), reached.end());
  }

  void ask(const std::string& name, const std::string& key, std::set<std::string>& asked,
           std::set<std::string>& reached) const {
    if (!exchanges.contains(name) || !asked.insert(name).second) return;
    const Node& exchange = exchanges.at(name);
    bool chosen = false;
    for (const Edge& edge : edges) {
      if (edge.source != name || (!exchange.fanout && edge.key != key)) continue;
      chosen = true;
      if (edge.to_queue) {
        reached.insert(edge.destination);
      } else {
        ask(edge.destination, key, asked, reached);
      }
    }
    if (!chosen) ask(exchange.alternate, key, asked, reached);
  }
};

struct RandomTopology {
  explicit RandomTopology(unsigned seed) : random(seed) {}

  std::string pick(const char* prefix, unsigned count) {
    return prefix + std::to_string(random() % count);
  }

  void step() {
    switch (random() % 10) {
      case 0:
      case 1:
        return declare_exchange();
      case 2:
        return declare_queue();
      case 3:
        return delete_something();
      case 4:
      case 5:
        return unbind();
      default:
        return bind();
    }
  }

  void declare_exchange() {
    const std::string name = pick("x", 6);
    if (model.exchanges.contains(name)) return;
    const bool fanout = random() % 2 == 0;
    const bool auto_delete = random() % 2 == 0;
    const std::string alternate = random() % 3 == 0 ? pick("x", 6) : "";
    ExchangeDefinition wanted = an_exchange(name, fanout ? "fanout" : "direct");
    wanted.auto_delete = auto_delete;
    if (!alternate.empty()) wanted.arguments.set("alternate-exchange", text(alternate));
    REQUIRE(first.declare(wanted) == "ok");
    REQUIRE(second.declare(wanted) == "ok");
    model.exchanges[name] = {fanout, auto_delete, alternate};
  }

  void declare_queue() {
    const std::string name = pick("q", 5);
    REQUIRE(first.declare(a_queue(name)) == "ok");
    REQUIRE(second.declare(a_queue(name)) == "ok");
    model.queues.insert(name);
  }

  void delete_something() {
    if (random() % 2 == 0) {
      const std::string name = pick("x", 6);
      compare(first.vhost.remove_exchange(name), second.vhost.remove_exchange(name));
      model.erase_exchange(name);
    } else {
      const std::string name = pick("q", 5);
      compare(first.vhost.remove_queue(name), second.vhost.remove_queue(name));
      model.erase_queue(name);
    }
  }

  Model::Edge random_edge() {
    const bool to_queue = random() % 2 == 0;
    return {pick("x", 6), to_queue ? pick("q", 5) : pick("x", 6), pick("k", 2), to_queue};
  }

  static BindingDefinition binding_of(const Model::Edge& edge) {
    return edge.to_queue ? to_queue(edge.source, edge.destination, edge.key)
                         : to_exchange(edge.source, edge.destination, edge.key);
  }

  void bind() {
    const Model::Edge edge = random_edge();
    const bool possible = model.exchanges.contains(edge.source) &&
                          (edge.to_queue ? model.queues.contains(edge.destination)
                                         : model.exchanges.contains(edge.destination));
    CHECK((first.bind(binding_of(edge)) == "ok") == possible);
    CHECK((second.bind(binding_of(edge)) == "ok") == possible);
    if (possible) model.edges.insert(edge);
  }

  void unbind() {
    Model::Edge edge = random_edge();
    if (!model.edges.empty() && random() % 2 == 0) {
      edge = *std::next(model.edges.begin(), static_cast<long>(random() % model.edges.size()));
    }
    CHECK(first.unbind(binding_of(edge)) == "ok");
    CHECK(second.unbind(binding_of(edge)) == "ok");
    model.erase(edge);
  }

  static void compare(const Removed& one, const Removed& other) {
    REQUIRE(one.exchanges.size() == other.exchanges.size());
    for (std::size_t i = 0; i < one.exchanges.size(); ++i) {
      CHECK(one.exchanges[i].name == other.exchanges[i].name);
    }
    REQUIRE(one.bindings.size() == other.bindings.size());
    for (std::size_t i = 0; i < one.bindings.size(); ++i) {
      CHECK(one.bindings[i].routing_key == other.bindings[i].routing_key);
      CHECK(one.bindings[i].destination == other.bindings[i].destination);
    }
  }

  void check() {
    first.vhost.check_invariants();
    second.vhost.check_invariants();
    CHECK(first.vhost.queue_count() == model.queues.size());
    std::size_t bindings = 0;
    first.vhost.each_binding([&bindings](const BindingDefinition&) { ++bindings; });
    REQUIRE(bindings == model.edges.size());
    for (unsigned i = 0; i < 6; ++i) {
      const std::string name = "x" + std::to_string(i);
      REQUIRE(first.has_exchange(name) == model.exchanges.contains(name));
      REQUIRE(second.has_exchange(name) == model.exchanges.contains(name));
    }
    const std::string source = pick("x", 6);
    if (!model.exchanges.contains(source)) return;
    const std::string key = pick("k", 2);
    const Names expected = model.route(source, key);
    REQUIRE(first.route(source, key) == expected);
    REQUIRE(second.route(source, key) == expected);
  }

  std::mt19937 random;
  Broker first;
  Broker second;
  Model model;
};

}  // namespace

TEST_SUITE("random topologies") {
  TEST_CASE("replicas agree with each other and with the plain model after every change") {
    const unsigned seed = random_seed();
    for (unsigned run = 0; run < 20; ++run) {
      CAPTURE(run);
      RandomTopology topology(seed + run);
      for (int step = 0; step < 400; ++step) {
        CAPTURE(step);
        topology.step();
        topology.check();
      }
    }
  }

  // Takes milliseconds; quadratic work anywhere would show as minutes.
  TEST_CASE("ten thousand queues bound to one exchange come and go") {
    for (const std::string type : {"direct", "fanout", "topic", "headers"}) {
      CAPTURE(type);
      Broker broker;
      broker.declare(an_exchange("x", type));
      const int count = 10'000;
      for (int i = 0; i < count; ++i) {
        const std::string name = "q" + std::to_string(i);
        broker.declare(a_queue(name));
        broker.bind(to_queue("x", name, i % 2 == 0 ? "k" : name));
      }
      const bool by_key = type == "direct" || type == "topic";
      const std::size_t expected = by_key ? 5'000 : 10'000;
      CHECK(broker.route("x", "k").size() == expected);
      for (int i = 0; i < count; i += 2) {
        const std::string name = "q" + std::to_string(i);
        broker.unbind(to_queue("x", name, "k"));
      }
      for (int i = 0; i < count; ++i)
        broker.vhost.remove_queue("q" + std::to_string(i));
      broker.vhost.check_invariants();
      CHECK(broker.route("x", "k").empty());
      CHECK(broker.vhost.find_exchange("x")->binding_count() == 0);
    }
  }
}
