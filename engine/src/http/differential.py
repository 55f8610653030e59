# Reads responses with h11, an HTTP/1.1 library of its own lineage, for the fuzz target in fuzz.rs.
# In: the length of a response (4 bytes, big-endian), whether it answers HEAD, whether the connection ends after it, its bytes.
# Out: a line of JSON.
import json
import struct
import sys

import h11


def read(is_head, ends, data):
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    method = "HEAD" if is_head else "GET"
    client.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    has_ended = False
    status, fields, body = 0, [], b""
    while True:
        event = client.next_event()
        if event is h11.NEED_DATA and ends and not has_ended:
            has_ended = True
            client.receive_data(b"")
        elif event is h11.NEED_DATA or event is h11.PAUSED:
            return {"is": "more"}
        elif type(event) is h11.Response:
            status = event.status_code
            fields = [[n.decode("latin-1"), v.decode("latin-1")] for n, v in event.headers]
        elif type(event) is h11.Data:
            body += bytes(event.data)
        elif type(event) is h11.EndOfMessage:
            left = len(client.trailing_data[0])
            stays = client.their_state is h11.DONE and not has_ended
            return {"is": "done", "status": status, "fields": fields, "body": body.decode("latin-1"),
                    "left": left, "stays": stays}
        elif type(event) is h11.ConnectionClosed:
            return {"is": "wrong", "why": "closed"}


while True:
    head = sys.stdin.buffer.read(6)
    if len(head) < 6:
        break
    length, is_head, ends = struct.unpack(">IBB", head)
    data = sys.stdin.buffer.read(length)
    try:
        answer = read(is_head, ends, data)
    except h11.RemoteProtocolError as error:
        answer = {"is": "wrong", "why": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
