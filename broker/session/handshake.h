#pragma once

#include "broker/session/connection.h"
#include "protocol/methods.h"

namespace harrier {

// Methods of class connection, on channel 0. Each is legal in one state of the connection only.
struct ConnectionMethods {
  Connection& connection;

  void on(const ConnectionStartOk& method);
  void on(const ConnectionTuneOk& method);
  void on(const ConnectionOpen& method);
  void on(const ConnectionClose& method);
  void on(const ConnectionUpdateSecret& method);

  // Everything else on channel 0.
  template <class M>
  void on(const M&) {
    refuse(M::kId);
  }

 private:
  void refuse(MethodId method);
  // The end of connection.open, once the limits have been looked at.
  void admitted(Result<ConnectionPermit, ProtocolError> permit);
  void authentication_failed(std::string_view mechanism, std::string_view user,
                             std::string_view reason);
};

}  // namespace harrier
