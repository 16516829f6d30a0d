# Every third-party package, found once. All come from Debian 12 (scripts/packages).
find_package(Threads REQUIRED)
find_package(RocksDB REQUIRED)
find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(doctest REQUIRED)
find_package(OpenSSL REQUIRED)

find_path(ASIO_INCLUDE_DIR asio.hpp REQUIRED)
add_library(harrier_asio INTERFACE)
target_include_directories(harrier_asio SYSTEM INTERFACE ${ASIO_INCLUDE_DIR})
# clang 14 with libstdc++ does not detect coroutine support by itself.
target_compile_definitions(harrier_asio INTERFACE
  ASIO_STANDALONE ASIO_NO_DEPRECATED
  $<$<CXX_COMPILER_ID:Clang>:ASIO_HAS_CO_AWAIT=1 ASIO_HAS_STD_COROUTINE=1>)
target_link_libraries(harrier_asio INTERFACE Threads::Threads)
