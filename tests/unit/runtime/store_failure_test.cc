#include <doctest/doctest.h>

#include "tests/unit/runtime/runtime_fixture.h"

using namespace harrier;
using namespace harrier::test;

TEST_SUITE("Shard: durability") {
  TEST_CASE("a store failure is reported to the broker's owner once, not once per shard") {
    Cluster cluster(3);
    cluster.store.fail_with({StoreError::Kind::no_space, "no space left"});
    cluster.turn(1, [&] { cluster.shard(1).batch().put_record("zz", "value"); });
    CHECK(cluster.failures.size() == 1);
  }
}
