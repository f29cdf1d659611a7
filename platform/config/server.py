"""``python -m config.server``: one api process. uvicorn's own command takes no protocol of ours."""

import argparse

import uvicorn


def main() -> None:
    """Serve until told to stop; open streams then have ``--graceful`` seconds."""
    parser = argparse.ArgumentParser(prog="config.server")
    parser.add_argument("--fd", type=int, help="a socket that is inherited and listens")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument(
        "--behind-proxy", action="store_true", help="believe what it says of callers"
    )
    parser.add_argument("--graceful", type=int, default=120, metavar="SECONDS")
    options = parser.parse_args()
    uvicorn.run(
        "config.asgi:application",
        fd=options.fd,
        host=options.host,
        port=options.port,
        loop="uvloop",
        http="gateway.heads:BoundedHttpProtocol",
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        # unless a proxy stands in front of us, nobody speaks for others
        proxy_headers=options.behind_proxy,
        forwarded_allow_ips="*" if options.behind_proxy else None,
        timeout_graceful_shutdown=options.graceful,
    )


if __name__ == "__main__":
    main()
