import sys

from genai_pipeline.cli import main

sys.exit(main())
