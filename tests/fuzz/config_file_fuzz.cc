// Any octets as a configuration file: it is accepted, or refused with complaints of one printable
// line each.

#include <cstddef>
#include <cstdint>

#include "base/assert.h"
#include "broker/config/config_file.h"

namespace harrier {
namespace {

void check(std::string_view text) {
  const auto loaded = parse_config(text, "fuzz.conf", {});
  if (loaded) {
    HARRIER_CHECK(loaded->config.runtime.shards <= 64);
    return;
  }
  HARRIER_CHECK(!loaded.error().lines.empty());
  for (const std::string& line : loaded.error().lines) {
    for (const char octet : line)
      HARRIER_CHECK(static_cast<unsigned char>(octet) >= ' ');
  }
}

}  // namespace
}  // namespace harrier

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  harrier::check({reinterpret_cast<const char*>(data), size});
  return 0;
}
