"""Entry point for the Flex Template's launcher: `rescore run` with the parameters of the launch."""

import sys

from pipeline.__main__ import main

if __name__ == "__main__":
    sys.argv[1:1] = ["run", "--verbose"]
    main()
