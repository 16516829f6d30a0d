#include "broker/config/version.h"

namespace harrier {

std::string_view version() {
  return HARRIER_VERSION;
}

}  // namespace harrier
