"""What the Flex Template's launcher starts: `rescore run`, with the launch's parameters."""

import sys

from pipeline.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["run", "--verbose"]
    main()
