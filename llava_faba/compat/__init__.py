"""One small mend per break between LLaVA and the machine or the packages that it runs on."""
