"""The program: `graphvae`, or `python -m graphvae`."""

import gc


def main() -> None:
    """Run the command line."""
    gc.disable()  # the modules that load here all stay: looking for garbage among them would take a tenth of an answer's time
    from graphvae.cli import main as run

    gc.freeze()
    gc.enable()
    run()


if __name__ == "__main__":
    main()
