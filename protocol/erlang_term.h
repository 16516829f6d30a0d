#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"

namespace harrier {

// RabbitMQ puts Erlang terms into some error texts, and client suites compare those. Characters
// count as printable if they are ASCII or one of \n \r \t \v \b \f \e. Erlang prints Latin-1
// letters too; here they become numbers, so that a reply text stays UTF-8.

// As `~p` prints a binary: <<"abc">> if all is printable, else <<0,20,0>>.
std::string erlang_binary(ByteView octets);

// As `~w` prints a binary: always <<97,98,99>>.
std::string erlang_binary_octets(ByteView octets);

// As `~p` prints a string, which is a list: "abc" if all is printable, else [0,20,0].
std::string erlang_string(ByteView octets);

}  // namespace harrier
