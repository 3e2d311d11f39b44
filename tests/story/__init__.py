"""What is it like to use? Read these first: each file is one sitting with Runfleet, from top to bottom."""
