"""The scenario ``oversight``: a capability check whose good result may lead to restriction."""
