"""Settings that people write: strict YAML files, and dataclasses whose fields say what goes into them."""
