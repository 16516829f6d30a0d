#pragma once

namespace harrier {

// The octet stream under a connection: a socket, or a test. No call blocks, and none hands octets
// to the connection; a flush tells it what was sent.
class Transport {
 public:
  virtual ~Transport() = default;

  // Sends what the connection's output holds, as far as the peer takes it, and the rest later.
  virtual void flush() = 0;
  // The connection is no longer paused: feed it what has been kept back.
  virtual void resume_reading() = 0;
  // Close the stream once the output is sent, or the peer has not taken it for some seconds.
  virtual void close_after_flush() = 0;
};

}  // namespace harrier
