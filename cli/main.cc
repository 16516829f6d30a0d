// harrier: the administration tool. `harrier --help` lists what it can do.
#include <iostream>

#include "cli/commands.h"

int main(int argc, char** argv) {
  return harrier::run_command(argc, argv, {std::cout, std::cerr});
}
