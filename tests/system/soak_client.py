"""A client that draws without end, until somebody kills it: `python soak_client.py HOST:PORT`."""

import sys

from diptych import Client


def main(address: str) -> None:
    with Client(generator_address=address) as client:
        print("ready", flush=True)
        seed = 0
        while True:
            client.generate(
                "a green tree",
                num_images=4,
                num_inference_steps=30,
                seed=seed,
                preview_interval=5,
                on_event=lambda _: None,
            )
            seed += 4


if __name__ == "__main__":
    main(sys.argv[1])
