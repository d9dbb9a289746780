"""The work of offline commands: conversion, the minimal failing case, the demo's model, JSON documents."""
