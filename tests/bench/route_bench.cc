// What it costs to route one message, by exchange type and by the number of bindings that do not
// match. Prints nanoseconds per message.
//
//   route_bench [messages per line, default 1000000]

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "broker/core/virtual_host.h"

namespace harrier {
namespace {

struct Bench {
  explicit Bench(std::string_view type) {
    ExchangeDefinition definition;
    definition.name = "x";
    definition.type = type;
    vhost.add_exchange(definition);
  }

  void bind(const std::string& queue, std::string_view key, FieldTable arguments = {}) {
    if (vhost.find_queue(queue) == nullptr) {
      QueueDefinition definition;
      definition.name = queue;
      vhost.add_queue(definition);
    }
    BindingDefinition binding;
    binding.source = "x";
    binding.destination = queue;
    binding.routing_key = key;
    binding.arguments = std::move(arguments);
    vhost.add_binding(std::move(binding));
  }

  // As a publish does it: the exchange is looked up by name each time.
  void run(const char* what, std::string_view exchange, std::string_view key,
           const FieldTable& header_fields = {}) {
    Buffer headers;
    header_fields.encode_fields(headers);
    const std::string_view keys[] = {key};
    const RoutingInput input{keys, TableView{headers.view()}};
    std::vector<QueueHandle*> queues;
    std::size_t routed = 0;
    const auto start = std::chrono::steady_clock::now();
    for (long i = 0; i < messages; ++i) {
      vhost.route(*vhost.find_exchange(exchange), input, queues);
      routed += queues.size();
    }
    const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;
    std::printf("%-52s %8.1f ns  %5.1f queues\n", what,
                taken.count() / static_cast<double>(messages),
                static_cast<double>(routed) / static_cast<double>(messages));
  }

  inline static long messages = 1'000'000;

  VirtualHost vhost{"/"};
};

std::string numbered(const char* text, int number) {
  return text + std::to_string(number);
}

void run_direct() {
  Bench bench("direct");
  bench.bind("q", "orders.created");
  bench.run("default exchange, 1 queue", "", "q");
  bench.run("direct, 1 binding", "x", "orders.created");
  for (int i = 0; i < 10'000; ++i)
    bench.bind(numbered("q", i), numbered("key.", i));
  bench.run("default exchange, 10,001 queues", "", "q");
  bench.run("direct, 10,000 other bindings", "x", "orders.created");
  bench.run("direct, no match", "x", "orders.deleted");
}

void run_fanout() {
  Bench bench("fanout");
  bench.bind("q", "");
  bench.run("fanout, 1 queue", "x", "");
  for (int i = 0; i < 99; ++i)
    bench.bind(numbered("q", i), "");
  bench.run("fanout, 100 queues", "x", "");
}

void run_topic() {
  Bench bench("topic");
  bench.bind("q", "stock.*.nyse.#");
  bench.run("topic, 1 pattern with * and #, 4 words", "x", "stock.ibm.nyse.open");
  for (int i = 0; i < 5'000; ++i) {
    bench.bind("others", numbered("other.*.", i));
    bench.bind("others", numbered("stock.*.nasdaq.#.", i));
  }
  bench.run("topic, 10,000 other patterns", "x", "stock.ibm.nyse.open");
  for (int i = 0; i < 10'000; ++i)
    bench.bind("others", numbered("#.end", i));
  bench.run("topic, 10,000 more of the form #.word", "x", "stock.ibm.nyse.open");

  Bench literal("topic");
  literal.bind("q", "stock.ibm.nyse");
  literal.run("topic, 1 literal pattern, 3 words", "x", "stock.ibm.nyse");

  Bench hostile("topic");
  std::string pattern = "#.a";
  std::string key = "a";
  while (pattern.size() < 250)
    pattern += ".#.a";
  while (key.size() < 250)
    key += ".a";
  hostile.bind("q", pattern + ".b");
  Bench::messages /= 1000;
  hostile.run("topic, #.a.#.a... against 126 words", "x", key);
  Bench::messages *= 1000;
}

void run_headers() {
  Bench bench("headers");
  const auto criteria = [](int customer) {
    FieldTable fields;
    fields.set("x-match", Value::long_string("all"));
    fields.set("format", Value::long_string("pdf"));
    fields.set("customer", Value::int32(customer));
    return fields;
  };
  FieldTable headers;
  headers.set("format", Value::long_string("pdf"));
  headers.set("trace", Value::long_string("0123456789abcdef0123456789abcdef"));
  headers.set("customer", Value::int32(-1));
  bench.bind("q", "", criteria(-1));
  bench.run("headers, all of 2, message with 3", "x", "", headers);
  for (int i = 0; i < 10'000; ++i)
    bench.bind(numbered("q", i), "", criteria(i));
  bench.run("headers, 10,000 other bindings", "x", "", headers);
}

// Declaring and deleting, per object, with that many around.
void run_topology() {
  Bench bench("topic");
  constexpr int kCount = 100'000;
  auto per_object = [start = std::chrono::steady_clock::now()]() mutable {
    const auto now = std::chrono::steady_clock::now();
    const double taken = std::chrono::duration<double, std::nano>(now - start).count() / kCount;
    start = now;
    return taken;
  };
  for (int i = 0; i < kCount; ++i)
    bench.bind(numbered("q", i), numbered("user.*.", i));
  std::printf("%-52s %8.1f ns\n", "declare and bind one of 100,000 queues", per_object());
  for (int i = 0; i < kCount; ++i)
    bench.vhost.remove_queue(numbered("q", i));
  std::printf("%-52s %8.1f ns\n", "delete one of them", per_object());
}

}  // namespace
}  // namespace harrier

int main(int argc, char** argv) {
  if (argc > 1) harrier::Bench::messages = std::atol(argv[1]);
  harrier::run_direct();
  harrier::run_fanout();
  harrier::run_topic();
  harrier::run_headers();
  harrier::run_topology();
}
